"""What metrics are made from: sums over users, which add up over batches and ranks without a rounding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.distributed as dist

from seqrec.evaluation.bootstrap import (
    REPLICATES,
    RatioSums,
    coverage_interval,
    popularity_interval,
    rank_intervals,
)
from seqrec.evaluation.metrics import (
    CUTOFFS,
    Ints,
    coverage,
    popularity,
    rank_histogram,
    rank_metrics,
    times_recommended,
)
from seqrec.evaluation.results import MetricValue

_LIMBS, _LIMB_BITS = 4, 32  # of a sum of squares, when it travels between ranks


class Tally:
    """Counts users by batches; its size depends on the catalogue, not on the users.

    Args:
        training_counts: int64 (N,), training events of each item, row r for item r + 1.
        cutoffs: list lengths k.

    Attributes:
        ranks: int64 (max(cutoffs) + 1,), users by the rank of their target, as `rank_histogram`.
        times: int64 (cutoffs, N), lists of each length that hold an item.
        owners: int64 (cutoffs, N), the sum of the store rows of these lists' users: where one list alone holds an item,
            it says whose.
        events: for each cutoff the sums for the interval of popularity.
    """

    def __init__(self, training_counts: Ints, cutoffs: Sequence[int] = CUTOFFS):
        self.cutoffs = tuple(cutoffs)
        self.ranks: Ints = np.zeros(max(cutoffs) + 1, dtype=np.int64)
        self.times: Ints = np.zeros((len(cutoffs), len(training_counts)), dtype=np.int64)
        self.owners: Ints = np.zeros_like(self.times)
        self.events = [RatioSums() for _ in cutoffs]
        self._training_counts = training_counts

    def add(self, rows: Ints, target_rank: Ints, top_items: Ints) -> None:
        """Takes in users, each once.

        Args:
            rows: int64 (U,), the users' store rows.
            target_rank: int64 (U,), from 0; negative or >= max(cutoffs) for a miss.
            top_items: int64 (U, at least max(cutoffs)), 1..N, best first, 0 for no item.
        """
        self.ranks += rank_histogram(target_rank, max(self.cutoffs))
        for i, k in enumerate(self.cutoffs):
            lists = top_items[:, :k]
            held = lists > 0
            per_user = np.count_nonzero(held, axis=1).astype(np.int64)
            self.times[i] += times_recommended(lists, len(self._training_counts))
            np.add.at(self.owners[i], lists[held] - 1, np.repeat(rows, per_user))
            self.events[i].add(np.where(held, self._training_counts[lists - 1], 0).sum(axis=1), per_user)

    def sum_over_ranks(self, device: torch.device) -> None:
        """Makes it the tally of all ranks, on each of them; nothing on one process.

        Args:
            device: where the process group's tensors live.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return
        squares = [value for sums in self.events for value in (sums.aa, sums.ab, sums.bb)]
        limbs = [value >> _LIMB_BITS * i & 2**_LIMB_BITS - 1 for value in squares for i in range(_LIMBS)]
        parts = [self.ranks, self.times.ravel(), self.owners.ravel(), np.array(limbs, dtype=np.int64)]
        summed = torch.from_numpy(np.concatenate(parts)).to(device)
        dist.all_reduce(summed)
        ranks, times, owners, limb_sums = np.split(summed.cpu().numpy(), np.cumsum([len(part) for part in parts])[:-1])
        self.ranks, self.times, self.owners = ranks, times.reshape(self.times.shape), owners.reshape(self.times.shape)
        values = [
            sum(limb << _LIMB_BITS * i for i, limb in enumerate(row)) for row in limb_sums.reshape(-1, _LIMBS).tolist()
        ]
        self.events = [RatioSums(*values[at : at + 3]) for at in range(0, len(values), 3)]

    def metrics(self, *, replicates: int = REPLICATES, seed: int = 0) -> dict[str, MetricValue]:
        """All metrics with intervals.

        Args:
            replicates: bootstrap resamples.
            seed: of the resampling.
        Raises:
            MetricError: no users.
        """
        users, counts = int(self.ranks.sum()), self._training_counts
        values = rank_metrics(self.ranks, self.cutoffs)
        found = rank_intervals(self.ranks, cutoffs=self.cutoffs, replicates=replicates, seed=seed)
        for i, k in enumerate(self.cutoffs):
            values[f"coverage@{k}"] = coverage(self.times[i])
            found[f"coverage@{k}"] = coverage_interval(self.times[i], self.owners[i], users)
        for i, k in enumerate(self.cutoffs):
            values[f"popularity@{k}"] = popularity(self.times[i], counts)
            found[f"popularity@{k}"] = popularity_interval(self.times[i], counts, self.events[i], users)
        return {name: MetricValue(value, *found[name]) for name, value in values.items()}
