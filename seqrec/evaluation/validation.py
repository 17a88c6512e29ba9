"""The validation metric during fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from seqrec.evaluation.metrics import CUTOFFS, rank_metrics


class RankHistogram(Metric):
    """Counts the ranks of targets and gives HR, NDCG and MRR at cutoffs, over all ranks of the job.

    The state is a histogram in int64, of fixed shape: sums of it are exact, so that any number of processes gives the
    same digits, and processes with unequal numbers of batches do not deadlock.

    Args:
        cutoffs: list lengths k.
        **kwargs: of `torchmetrics.Metric`.
    """

    full_state_update = False
    higher_is_better = True
    counts: Tensor

    def __init__(self, cutoffs: Sequence[int] = CUTOFFS, **kwargs: Any):
        super().__init__(**kwargs)
        self.cutoffs = tuple(cutoffs)
        self.add_state("counts", torch.zeros(max(cutoffs) + 1, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, target_rank: Tensor) -> None:
        """Adds int64 (B,) ranks from 0; negative or >= max(cutoffs) for a miss. B may be 0."""
        misses = len(self.counts) - 1
        bins = target_rank.where((target_rank >= 0) & (target_rank < misses), misses)
        self.counts += torch.bincount(bins, minlength=len(self.counts))

    def compute(self) -> dict[str, Tensor]:
        """Float64 scalars by name, as `ndcg@10`.

        Raises:
            MetricError: no users.
        """
        metrics = rank_metrics(self.counts.cpu().numpy(), self.cutoffs)
        return {
            name: torch.tensor(value, dtype=torch.float64, device=self.counts.device) for name, value in metrics.items()
        }
