"""95 % intervals over users: how much metrics would move with other users of the same kind.

All are made from sums over users, so that users can be counted batch by batch and rank by rank.

HR, NDCG and MRR get percentile bootstrap intervals (Efron 1979). Coverage does not: a resample holds 63 % of the
distinct users, hence fewer distinct items, and its percentiles can lie wholly below the value itself; resamples also
vary too little, since items that nobody was recommended never appear. Its interval is value ± 1.96 jackknife standard
errors, which on average are not too small (Efron and Stein 1981, Annals of Statistics 9:586). It is about coverage with
this many users, for coverage grows with their number. Popularity is a ratio of two sums; its interval is value ± 1.96
standard errors of the linearised ratio (Cochran 1977, "Sampling Techniques", chapter 6).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqrec.evaluation.metrics import CUTOFFS, Floats, Ints, coverage, rank_gains

REPLICATES = 1000
LEVELS = (0.025, 0.975)
_NORMAL = 1.96


@dataclass
class RatioSums:
    """Sums over users of squares and products of a ratio's parts, as Python's integers: exact at any size.

    Attributes:
        aa, ab, bb: sums of a², a·b and b², for the ratio Σa / Σb.
    """

    aa: int = 0
    ab: int = 0
    bb: int = 0

    def add(self, a: Ints, b: Ints) -> None:
        """Takes in users; int64 (U,) each."""
        for x, y in zip(a.tolist(), b.tolist(), strict=True):
            self.aa += x * x
            self.ab += x * y
            self.bb += y * y


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


def popularity_interval(times: Ints, training_counts: Ints, sums: RatioSums, users: int) -> tuple[float, float]:
    """Interval of mean popularity.

    Args:
        times: int64 (N,), of `times_recommended`.
        training_counts: int64 (N,), row r for item r + 1.
        sums: of each user's training events of the recommended items (a) and number of these (b).
        users: how many.
    """
    events, recommendations = int(times @ training_counts), max(1, int(times.sum()))
    value = events / recommendations
    # Σ (a - value b)², by recommendations² and in whole numbers, of which a difference loses nothing
    squares = sums.aa * recommendations**2 - 2 * sums.ab * events * recommendations + sums.bb * events**2
    margin = _NORMAL * math.sqrt(squares / recommendations**4 * users / max(1, users - 1))
    return value - margin, value + margin


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
    margin = _NORMAL * math.sqrt(max(0.0, squares) * (users - 1) / users) / len(times)
    return max(0.0, value - margin), min(1.0, value + margin)


def _percentiles(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, LEVELS)
    return float(low), float(high)
