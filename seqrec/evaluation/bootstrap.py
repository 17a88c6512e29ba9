"""95 % intervals over users: how much metrics would move with other users of the same kind.

All are made from sums over users, so that users can be counted batch by batch and rank by rank.

HR, NDCG and MRR get percentile bootstrap intervals (Efron 1979). Coverage does not: a resample holds 63 % of the
distinct users, hence fewer distinct items, and its percentiles can lie wholly below the value itself; resamples also
vary too little, since items that nobody was recommended never appear. Its interval is value ± 1.96 jackknife standard
errors, which on average are not too small (Efron and Stein 1981, Annals of Statistics 9:586). It is about coverage with
this many users, for coverage grows with their number. The Gini coefficient is of all lists together too, and has no
interval. Means over lists are ratios of two sums; their intervals are in `ratios`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seqrec.evaluation.exact import Floats, Ints
from seqrec.evaluation.metrics import CUTOFFS, coverage, rank_gains
from seqrec.evaluation.ratios import NORMAL

REPLICATES = 1000
LEVELS = (0.025, 0.975)


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


def coverage_interval(times: Ints, owners: Ints, users: int) -> tuple[float, float]:
    """Jackknife interval of coverage, within 0..1.

    Without user u coverage loses the items that u alone is recommended; the spread of those losses is the jackknife's
    variance.

    Args:
        times: int64 (N,), of `times_recommended`.
        owners: int64 (N,), for each item that one user alone is recommended a number that tells this user from others;
            anything for other items.
        users: how many, >= 1.
    """
    value = coverage(times)
    _, losses = np.unique(owners[times == 1], return_counts=True)  # of users who have any
    # sums of integers: exact in any order
    squares = int((losses**2).sum()) - int(losses.sum()) ** 2 / users
    margin = NORMAL * math.sqrt(max(0.0, squares) * (users - 1) / users) / len(times)
    return max(0.0, value - margin), min(1.0, value + margin)


def _percentiles(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, LEVELS)
    return float(low), float(high)
