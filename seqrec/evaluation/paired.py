"""Whether one model is better than another on the same users: a paired bootstrap over users.

Users differ far more than models do, so that two intervals that overlap say little; what a resample of users does to
the difference says more (Efron and Tibshirani 1993, "An introduction to the bootstrap"; for rankings Sakai 2006). A
group of runs that differ in their seed alone counts as its mean over seeds for each user: the interval is about users,
for these seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from seqrec.evaluation.bootstrap import LEVELS
from seqrec.evaluation.exact import Floats
from seqrec.evaluation.metrics import CUTOFFS, rank_gains
from seqrec.evaluation.results import MetricValue, PairedDifference

REPLICATES = 10_000  # the least p-value is 2 / (REPLICATES + 1)
_BLOCK_DRAWS = 5_000_000  # of the resamples held at once

Ranks = npt.NDArray[np.uint8]


def group_metrics(runs: Sequence[Ranks], *, replicates: int = REPLICATES, seed: int = 0) -> dict[str, MetricValue]:
    """HR, NDCG and MRR as means over runs, with percentile intervals over users.

    Args:
        runs: uint8 (U,) each, ranks of the same users' targets from 0, 255 for a miss; U >= 1.
        replicates: bootstrap resamples.
        seed: of the resampling.
    """
    sorts, counts = _sorts([runs])
    values = {name: gains[sorts[0]].mean(axis=0) for name, gains in rank_gains(CUTOFFS).items()}
    resampled = _resampled(values, counts, replicates, seed)
    return {
        name: MetricValue(_mean(value, counts), *map(float, np.quantile(resampled[name], LEVELS)))
        for name, value in values.items()
    }


def paired_differences(
    runs: Sequence[Ranks], reference: Sequence[Ranks], *, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, PairedDifference]:
    """How much better a group of runs is than a reference, by HR, NDCG and MRR.

    The p-value is two-sided: twice the smaller share of resamples whose difference is not above, or not below, zero,
    the observed one counted in.

    Args:
        runs: uint8 (U,) each, as for `group_metrics`.
        reference: likewise, of the same users.
        replicates: bootstrap resamples.
        seed: of the resampling.
    """
    sorts, counts = _sorts([runs, reference])
    values = {
        name: gains[sorts[0]].mean(axis=0) - gains[sorts[1]].mean(axis=0) for name, gains in rank_gains(CUTOFFS).items()
    }
    found = {}
    for name, resampled in _resampled(values, counts, replicates, seed).items():
        low, high = map(float, np.quantile(resampled, LEVELS))
        tails = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
        p_value = min(1.0, 2 * (tails + 1) / (replicates + 1))
        found[name] = PairedDifference(_mean(values[name], counts), low, high, p_value)
    return found


def _sorts(groups: Sequence[Sequence[Ranks]]) -> tuple[list[npt.NDArray[np.uint8]], npt.NDArray[np.int64]]:
    """The different users: for each group uint8 (runs, sorts), ascending within a user; and users of each sort.

    Users with the same ranks count alike, and most miss everything: far fewer sorts than users.
    """
    columns = np.concatenate([np.sort(np.stack(runs).clip(max=max(CUTOFFS)), axis=0) for runs in groups])
    sorts, counts = np.unique(columns, axis=1, return_counts=True)
    ends = np.cumsum([len(runs) for runs in groups])[:-1]
    return np.split(sorts, ends), counts.astype(np.int64)


def _mean(values: Floats, counts: npt.NDArray[np.int64]) -> float:
    return math.fsum(values * counts) / int(counts.sum())


def _resampled(
    values: dict[str, Floats], counts: npt.NDArray[np.int64], replicates: int, seed: int
) -> dict[str, Floats]:
    """For each metric float64 (replicates,), its means over resamples of users, which all metrics share.

    Drawing U users with replacement is drawing how many there are of each sort from a multinomial.
    """
    users = int(counts.sum())
    table = np.stack(list(values.values()), axis=1)  # (sorts, metrics)
    blocks = [drawn @ table / users for drawn in _drawn(counts, users, replicates, seed)]
    return dict(zip(values, np.concatenate(blocks).T, strict=True))


def _drawn(counts: npt.NDArray[np.int64], users: int, replicates: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    random = np.random.default_rng([seed, 1])
    step = max(1, _BLOCK_DRAWS // len(counts))
    for start in range(0, replicates, step):
        yield random.multinomial(users, counts / users, size=min(step, replicates - start))
