"""Metrics with 95 % intervals over users: how much they would move with other users of the same kind.

HR, NDCG, MRR and popularity get percentile bootstrap intervals (Efron 1979). Coverage does not: a resample holds 63 %
of the distinct users, hence fewer distinct items, and its percentiles can lie wholly below the value itself; resamples
also vary too little, since items that nobody was recommended never appear. Its interval is value ± 1.96 jackknife
standard errors, which on average are not too small (Efron and Stein 1981, Annals of Statistics 9:586). It is about
coverage with this many users, for coverage grows with their number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seqrec.evaluation.metrics import (
    CUTOFFS,
    Floats,
    Ints,
    coverage,
    list_metrics,
    popularity_parts,
    rank_gains,
    rank_histogram,
    rank_metrics,
    times_recommended,
)
from seqrec.evaluation.results import MetricValue

REPLICATES = 1000
LEVELS = (0.025, 0.975)


def measure(
    target_rank: Ints,
    top_items: Ints,
    training_counts: Ints,
    *,
    cutoffs: Sequence[int] = CUTOFFS,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, MetricValue]:
    """All metrics with intervals; the order of users does not matter, to the last digit.

    Args:
        target_rank: int64 (U,), from 0; negative or >= max(cutoffs) for a miss.
        top_items: int64 (U, at least max(cutoffs)), 1..N, best first, 0 for no item.
        training_counts: int64 (N,), training events of each item, row r for item r + 1.
        cutoffs: list lengths k.
        replicates: bootstrap resamples.
        seed: of the resampling.
    Raises:
        MetricError: no users.
    """
    histogram = rank_histogram(target_rank, max(cutoffs))
    values = rank_metrics(histogram, cutoffs) | list_metrics(top_items, training_counts, cutoffs)
    intervals = {
        **rank_intervals(histogram, cutoffs=cutoffs, replicates=replicates, seed=seed),
        **{f"coverage@{k}": coverage_interval(top_items[:, :k], len(training_counts)) for k in cutoffs},
        **popularity_intervals(top_items, training_counts, cutoffs=cutoffs, replicates=replicates, seed=seed),
    }
    return {name: MetricValue(value, *intervals[name]) for name, value in values.items()}


def rank_intervals(
    histogram: Ints, *, cutoffs: Sequence[int] = CUTOFFS, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of HR, NDCG and MRR.

    Drawing U users with replacement is drawing their ranks' histogram from a multinomial, at a cost that does not grow
    with U. All metrics share the resamples.

    Args:
        histogram: int64 (max(cutoffs) + 1,), of `rank_histogram`, not all 0.
        cutoffs: list lengths k.
        replicates: bootstrap resamples.
        seed: of the resampling.
    """
    users = int(histogram.sum())
    resampled = np.random.default_rng([seed, 0]).multinomial(users, histogram / users, size=replicates)
    return {name: _percentiles(resampled @ gains / users) for name, gains in rank_gains(cutoffs).items()}


def popularity_intervals(
    top_items: Ints,
    training_counts: Ints,
    *,
    cutoffs: Sequence[int] = CUTOFFS,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of mean popularity, in O(U) memory; arguments as those of `measure`."""
    users = len(top_items)
    parts = [part for k in cutoffs for part in popularity_parts(top_items[:, :k], training_counts)]
    # sorted, so that the order of users cannot decide who is drawn
    columns = np.stack([part[np.lexsort(parts)] for part in parts], axis=1).astype(np.float64)
    rng = np.random.default_rng([seed, 1])
    totals = np.empty((replicates, len(parts)))
    for replicate in range(replicates):
        drawn = np.bincount(rng.integers(0, users, users), minlength=users)
        totals[replicate] = drawn @ columns  # integers below 2**53: exact
    means = totals[:, 0::2] / np.maximum(1, totals[:, 1::2])
    return {f"popularity@{k}": _percentiles(means[:, i]) for i, k in enumerate(cutoffs)}


def coverage_interval(top_items: Ints, n_items: int) -> tuple[float, float]:
    """Jackknife interval of coverage, within 0..1.

    Without user u coverage loses the items that u alone is recommended; the spread of those losses is the jackknife's
    variance.

    Args:
        top_items: int64 (U, k), 1..N, 0 for no item; U >= 1.
        n_items: items of the catalogue, N.
    """
    users, value = len(top_items), coverage(top_items, n_items)
    alone = np.concatenate([[False], times_recommended(top_items, n_items) == 1])
    losses = alone[top_items].sum(axis=1)
    # sums of integers: exact in any order
    squares = int((losses**2).sum()) - int(losses.sum()) ** 2 / users
    margin = 1.96 * math.sqrt(max(0.0, squares) * (users - 1) / users) / n_items
    return max(0.0, value - margin), min(1.0, value + margin)


def _percentiles(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, LEVELS)
    return float(low), float(high)
