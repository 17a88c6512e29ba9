"""What metrics are made from: sums over users, which add up over batches and ranks without a rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from seqrec.evaluation.bootstrap import REPLICATES, coverage_interval, rank_intervals
from seqrec.evaluation.exact import Ints
from seqrec.evaluation.list_measures import ListMeasure, popularity_measure
from seqrec.evaluation.metrics import CUTOFFS, coverage, gini, rank_histogram, rank_metrics, times_recommended
from seqrec.evaluation.ratios import RatioSums
from seqrec.evaluation.results import MetricValue
from seqrec.ranking import ItemLists

_LIMBS, _LIMB_BITS = 4, 32  # of a sum of squares, when it travels between ranks
MISS = 255  # the rank of a target that no list holds, where users' ranks are kept


class Tally:
    """Counts users by batches; its size depends on the catalogue, and on the users by a byte each.

    Args:
        training_counts: int64 (N,), training events of each item, row r for item r + 1.
        cutoffs: list lengths k, below 255.
        measures: of the lists, beside their popularity.
        n_slices: slices that users are also counted in.
        n_users: users of the store.

    Attributes:
        ranks: int64 (max(cutoffs) + 1,), users by the rank of their target, as `rank_histogram`.
        slice_ranks: int64 (slices, max(cutoffs) + 1), the same of each slice.
        rank_of_user: uint8 (store's users,), 1 + the rank of the target, 255 for a miss, 0 for who is not evaluated.
        times: int64 (cutoffs, N), lists of each length that hold an item.
        owners: int64 (cutoffs, N), the sum of the store rows of these lists' users: where one list alone holds an item,
            it says whose.
        ratios: for each measure and cutoff its sums.
    """

    def __init__(
        self,
        training_counts: Ints,
        cutoffs: Sequence[int] = CUTOFFS,
        *,
        measures: Sequence[ListMeasure] = (),
        n_slices: int = 0,
        n_users: int = 0,
    ):
        self.cutoffs = tuple(cutoffs)
        self.ranks: Ints = np.zeros(max(cutoffs) + 1, dtype=np.int64)
        self.slice_ranks: Ints = np.zeros((n_slices, max(cutoffs) + 1), dtype=np.int64)
        self.rank_of_user: npt.NDArray[np.uint8] = np.zeros(n_users, dtype=np.uint8)
        self.times: Ints = np.zeros((len(cutoffs), len(training_counts)), dtype=np.int64)
        self.owners: Ints = np.zeros_like(self.times)
        self._measures = [popularity_measure(training_counts), *measures]
        self.ratios = [[RatioSums() for _ in cutoffs] for _ in self._measures]

    def add(
        self,
        rows: Ints,
        target_rank: Ints,
        top_items: Ints,
        *,
        histories: ItemLists | None = None,
        slices: Ints | None = None,
    ) -> None:
        """Takes in users, each once.

        Args:
            rows: int64 (U,), the users' store rows.
            target_rank: int64 (U,), from 0; negative or >= max(cutoffs) for a miss.
            top_items: int64 (U, at least max(cutoffs)), 1..N, best first, 0 for no item.
            histories: on the CPU, for measures that ask for them.
            slices: int64 (kinds, U), the users' slices.
        """
        misses = max(self.cutoffs)
        self.ranks += rank_histogram(target_rank, misses)
        bins = np.where((target_rank >= 0) & (target_rank < misses), target_rank, misses)
        if len(self.rank_of_user):
            self.rank_of_user[rows] = np.where(bins < misses, bins + 1, MISS)
        if slices is not None:
            np.add.at(self.slice_ranks, (slices, bins[None]), 1)
        none = torch.zeros(len(rows) + 1, dtype=torch.int64)
        histories = histories or ItemLists(none, none[:0])
        for i, k in enumerate(self.cutoffs):
            lists = top_items[:, :k]
            held = lists > 0
            self.times[i] += times_recommended(lists, self.times.shape[1])
            np.add.at(self.owners[i], lists[held] - 1, np.repeat(rows, np.count_nonzero(held, axis=1)))
            for measure, sums in zip(self._measures, self.ratios, strict=True):
                sums[i].add(*measure.count(lists, histories))

    def sum_over_ranks(self, device: torch.device) -> None:
        """Makes it the tally of all ranks, on each of them; nothing on one process.

        Args:
            device: where the process group's tensors live.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return
        sums = [value for row in self.ratios for one in row for value in astuple(one)]
        limbs = [value >> _LIMB_BITS * i & 2**_LIMB_BITS - 1 for value in sums for i in range(_LIMBS)]
        self.ranks, self.slice_ranks, self.times, self.owners, limb_sums = _summed(
            [self.ranks, self.slice_ranks, self.times, self.owners, np.array(limbs, dtype=np.int64)], device
        )
        (self.rank_of_user,) = _summed([self.rank_of_user], device)
        values = [
            sum(limb << _LIMB_BITS * i for i, limb in enumerate(row)) for row in limb_sums.reshape(-1, _LIMBS).tolist()
        ]
        parts = len(astuple(RatioSums()))
        found = [RatioSums(*values[at : at + parts]) for at in range(0, len(values), parts)]
        width = len(self.cutoffs)
        self.ratios = [found[at : at + width] for at in range(0, len(found), width)]

    def metrics(self, *, replicates: int = REPLICATES, seed: int = 0) -> dict[str, MetricValue]:
        """All metrics with intervals; Gini without.

        Args:
            replicates: bootstrap resamples.
            seed: of the resampling.
        Raises:
            MetricError: no users.
        """
        users = int(self.ranks.sum())
        found = rank_values(self.ranks, self.cutoffs, replicates=replicates, seed=seed)
        for i, k in enumerate(self.cutoffs):
            value = coverage(self.times[i])
            found[f"coverage@{k}"] = MetricValue(value, *coverage_interval(self.times[i], self.owners[i], users))
        for i, k in enumerate(self.cutoffs):
            found[f"gini@{k}"] = MetricValue(gini(self.times[i]))
        for measure, row in zip(self._measures, self.ratios, strict=True):
            for k, sums in zip(self.cutoffs, row, strict=True):
                low, high = sums.interval(users)
                parts = (sums.value, low, high)
                found[f"{measure.name}@{k}"] = MetricValue(*(part / measure.unit for part in parts))
        return found


def rank_values(
    histogram: Ints, cutoffs: Sequence[int] = CUTOFFS, *, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, MetricValue]:
    """HR, NDCG and MRR with their intervals; arguments as of `rank_intervals`, and MetricError without users."""
    values = rank_metrics(histogram, cutoffs)
    found = rank_intervals(histogram, cutoffs=cutoffs, replicates=replicates, seed=seed)
    return {name: MetricValue(value, *found[name]) for name, value in values.items()}


def _summed(arrays: list[npt.NDArray[Any]], device: torch.device) -> list[npt.NDArray[Any]]:
    """Sums over ranks of arrays of one type, in one collective; of their shapes."""
    flat = torch.from_numpy(np.concatenate([array.ravel() for array in arrays])).to(device)
    dist.all_reduce(flat)
    ends = np.cumsum([array.size for array in arrays])[:-1]
    parts = np.split(flat.cpu().numpy(), ends)
    return [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]
