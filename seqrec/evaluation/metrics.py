"""Metrics of ranked lists, from integers only: the same digits in any order of users and on any number of ranks.

With one target a user recall@k equals hit rate@k; both go by the name `hr@k`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seqrec.errors import MetricError
from seqrec.evaluation.exact import Floats, Ints, dot

CUTOFFS = (5, 10, 20)


def cutoffs_within(list_limit: int | None) -> tuple[int, ...]:
    """Those of `CUTOFFS` that lists reach: beyond a list's end nothing could be told from a miss.

    Args:
        list_limit: items of the longest list, as `seqrec.models.RankingModel` has it; None for any.
    Raises:
        MetricError: lists reach none.
    """
    found = tuple(k for k in CUTOFFS if list_limit is None or k <= list_limit)
    if not found:
        raise MetricError(
            f"lists of at most {list_limit} items are too short for metrics at {', '.join(map(str, CUTOFFS))}",
            do="train with a larger limit in `model.head`",
        )
    return found


def rank_gains(cutoffs: Sequence[int] = CUTOFFS) -> dict[str, Floats]:
    """What a target at each rank is worth, by metric.

    With rank r from 0: `hr@k` 1, `ndcg@k` 1 / log2(r + 2) (the ideal DCG of one target is 1), `mrr@k` 1 / (r + 1);
    all 0 from rank k on.

    Returns:
        float64 (max(cutoffs) + 1,) for each metric; the last entry, 0, is for targets that all cutoffs miss.
    """
    ranks = np.arange(max(cutoffs) + 1)
    shapes = {"hr": np.ones(len(ranks)), "ndcg": 1 / np.log2(ranks + 2), "mrr": 1 / (ranks + 1)}
    return {f"{name}@{k}": np.where(ranks < k, gain, 0.0) for name, gain in shapes.items() for k in cutoffs}


def rank_histogram(target_rank: Ints, size: int) -> Ints:
    """Counts users by the rank of their target.

    Args:
        target_rank: int64 (U,), from 0; negative or >= size for a miss.
        size: ranks told apart, the largest cutoff.
    Returns:
        int64 (size + 1,); the last entry counts misses.
    """
    hit = (target_rank >= 0) & (target_rank < size)
    return np.bincount(np.where(hit, target_rank, size), minlength=size + 1).astype(np.int64)


def rank_metrics(histogram: Ints, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, float]:
    """HR, NDCG and MRR at each cutoff, means over users.

    Args:
        histogram: int64 (max(cutoffs) + 1,), of `rank_histogram`.
        cutoffs: list lengths k.
    Raises:
        MetricError: no users.
    """
    users = int(histogram.sum())
    if not users:
        raise MetricError(
            "no users to evaluate",
            do="see which rule of the split protocol leaves them all out, and take another cut or split",
        )
    # fsum rounds once, so that the digits depend neither on the order of summation nor on the machine
    return {name: math.fsum(histogram * gains) / users for name, gains in rank_gains(cutoffs).items()}


def times_recommended(top_items: Ints, n_items: int) -> Ints:
    """How many lists hold each item; an item is at most once in a list.

    Args:
        top_items: int64 (U, k), 1..N, 0 for no item.
        n_items: items of the catalogue, N.
    Returns:
        int64 (N,), row r for item r + 1.
    """
    return np.bincount(top_items.ravel(), minlength=n_items + 1)[1:].astype(np.int64)


def coverage(times: Ints) -> float:
    """Share of the catalogue that is recommended to anybody; ``times`` int64 (N,), of `times_recommended`."""
    return int(np.count_nonzero(times)) / len(times)


def gini(times: Ints) -> float:
    """Gini coefficient of how often items are recommended: 0 where all are alike, near 1 where few take all.

    Σ (2 r - N - 1) t_r / (N Σ t) over the items in ascending order of times t, r = 1..N; 0 where there are no
    recommendations.

    Args:
        times: int64 (N,), of `times_recommended`.
    """
    n_items, total = len(times), int(times.sum())
    places = np.arange(1, n_items + 1, dtype=np.int64)
    return (2 * dot(places, np.sort(times)) - (n_items + 1) * total) / max(1, n_items * total)
