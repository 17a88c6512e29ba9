"""The best that any recommender could do on a simulated log, user by user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from seqrec.simulate.catalogue import Floats, Ints

OracleSplit = Literal["valid", "test"]
SeenPolicy = Literal["allow", "filter"]


@dataclass(frozen=True)
class OracleRanks:
    """Where the true conditional probabilities rank what each of U users did next.

    Attributes:
        item: int64 (U,), the target, a row of the simulated catalogue.
        allow: int64 (U,), 1 for the likeliest item, with all items ranked.
        filter: int64 (U,), with the items of the user's history left out; 0 where the target is one of them.
    """

    item: Ints
    allow: Ints
    filter: Ints


def rank_targets(probability: Floats, target: Ints, seen: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Ranks (B,) of the targets under both policies, ties against the target.

    Args:
        probability: float64 (B, N).
        target: int64 (B,) in 0..N-1.
        seen: bool (B, N), the items of the history.
    Returns:
        The ranks with all items, and among unseen items, where 0 marks a target that was seen.
    """
    rows = np.arange(len(target))
    ahead = probability >= probability[rows, target][:, None]  # counts the target itself, so that ranks begin at 1
    unseen = np.where(seen[rows, target], 0, np.sum(ahead & ~seen, axis=1))
    return np.sum(ahead, axis=1), unseen


def oracle_metrics(ranks: Sequence[int] | Ints, cutoffs: Sequence[int] = (5, 10, 20)) -> dict[str, float]:
    """HR, NDCG and MRR of ranks that begin at 1, each the mean over users.

    Args:
        ranks: one rank a user; leave out users with 0 before.
        cutoffs: where the slates end.
    Returns:
        ``{"hr@5": ..., "ndcg@5": ..., "mrr@5": ..., ...}``.
    Raises:
        ValueError: no ranks, or one below 1.
    """
    rank = np.asarray(ranks, dtype=np.int64)
    if rank.size == 0 or rank.min() < 1:
        raise ValueError(f"ranks begin at 1, got {rank.size} ranks, the least {rank.min(initial=1)}")
    gains = {"hr": np.ones(len(rank)), "ndcg": 1 / np.log2(1.0 + rank), "mrr": 1.0 / rank}
    return {f"{name}@{k}": float(np.mean(gain * (rank <= k))) for k in cutoffs for name, gain in gains.items()}
