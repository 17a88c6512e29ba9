"""Evaluates a model beside the baselines, on any number of ranks to the same digits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from seqrec.evaluation.baselines import ItemKNN, Popular
from seqrec.evaluation.metrics import cutoffs_within
from seqrec.evaluation.results import EvaluationResult, UserCounts
from seqrec.evaluation.tally import Tally
from seqrec.evaluation.trainer import ranking_trainer
from seqrec.evaluation.users import rank_users
from seqrec.models import RankingModel
from seqrec.ranking import ItemLists, Ranked, rank
from seqrec.store import Sequences
from seqrec.store.split import Part
from seqrec.stream import EvaluationBatch, EvaluationStream, SequenceDataModule
from seqrec.stream.collate import flatten
from seqrec.stream.order_windows import Window

_MODEL = "model"


class _RankUsers(L.LightningModule):
    """Tallies the users of each rank, the model's lists and the baselines', and sums over ranks."""

    def __init__(self, model: RankingModel, data: SequenceDataModule, stream: EvaluationStream):
        super().__init__()
        self.model = model
        self.tallies: dict[str, Tally] = {}
        self._data = data
        self._stream = stream
        self._cutoffs = cutoffs_within(model.list_limit)
        self._own = Tally(data.split.train_counts[1:], self._cutoffs)

    def test_step(self, batch: EvaluationBatch, batch_idx: int) -> None:
        if len(batch.rows):
            _count(self._own, batch.rows, rank_users(self.model, batch, k=max(self._cutoffs)))

    def on_test_epoch_end(self) -> None:
        windows = self._stream.plan.windows[self.global_rank :: self.trainer.world_size]
        self.tallies = {_MODEL: self._own} | _baselines(self._data, self._stream, windows, self._cutoffs)
        for tally in self.tallies.values():
            tally.sum_over_ranks(self.device)


def evaluate(
    model: RankingModel,
    data: SequenceDataModule,
    *,
    part: Part = "test",
    devices: int = 1,
    accelerator: str = "auto",
    progress: bool = False,
) -> EvaluationResult | None:
    """Ranks items for every user with a target, and does the same with the baselines.

    Metrics are those at cutoffs that the model's lists reach; a target that a generated list leaves out is missed.

    Args:
        model: what is evaluated.
        data: store and split protocol.
        part: which targets.
        devices: processes; the result is the same for any number at equal threads a process.
        accelerator: as Lightning names it.
        progress: shows a bar.
    Returns:
        The metrics; None on processes other than the first.
    Raises:
        MetricError: a score is NaN, or the model's lists are too short for any metric.
        StoreError: the split leaves no user.
    """
    stream = data.evaluation(part)
    trainer = ranking_trainer(accelerator=accelerator, devices=devices, progress=progress)
    ranker = _RankUsers(model, data, stream)
    trainer.test(ranker, stream.loader(trainer.global_rank, trainer.world_size), verbose=False)
    if not trainer.is_global_zero:
        return None
    counts = stream.counts
    limit = {} if model.list_limit is None else {"list_limit": model.list_limit}
    metrics = {name: tally.metrics() for name, tally in ranker.tallies.items()}
    return EvaluationResult(
        protocol={"part": part, **data.split.describe(), "max_length": data.settings.max_length, **limit},
        counts=UserCounts(counts.users, counts.left_out, counts.cold_targets),
        model=metrics.pop(_MODEL),
        baselines=metrics,
    )


def _baselines(
    data: SequenceDataModule, stream: EvaluationStream, windows: Sequence[Window], cutoffs: Sequence[int]
) -> dict[str, Tally]:
    """The baselines' lists for the users of some windows."""
    n_items = data.store.manifest.counts.items
    fitted: dict[str, Any] = {
        "popular": Popular.fit(_training_sequences(data), n_items),
        "item_knn": ItemKNN.fit(_training_sequences(data), n_items),
    }
    filters = data.split.settings.seen == "filter"
    tallies = {name: Tally(data.split.train_counts[1:], cutoffs) for name in fitted}
    for window in windows:
        histories = stream.read(window.units)
        assert histories.targets is not None  # of a part
        for start in range(0, len(histories.rows), 512):
            some = slice(start, start + 512)
            lists = ItemLists(
                *map(torch.from_numpy, flatten(histories.items, histories.starts[some], histories.lengths[some]))
            )
            rows, targets = torch.from_numpy(histories.rows[some]), torch.from_numpy(histories.targets[some])
            for name, baseline in fitted.items():
                ranked = rank(baseline.scorer(lists), k=max(cutoffs), targets=targets, seen=lists if filters else None)
                _count(tallies[name], rows, ranked)
    return tallies


def _count(tally: Tally, rows: Tensor, ranked: Ranked) -> None:
    assert ranked.target_rank is not None  # there are targets
    tally.add(rows.cpu().numpy(), ranked.target_rank.cpu().numpy(), ranked.top_items.cpu().numpy())


def _training_sequences(data: SequenceDataModule) -> Iterator[Sequences]:
    """The store's sequences cut to what is trained on."""
    for sequences in data.store.scan(data.split.columns):
        lengths = data.split.train_end(sequences)
        offsets, items = flatten(sequences.items, sequences.offsets[:-1], lengths)
        yield replace(sequences, offsets=offsets, items=items.astype(np.int32), timestamps=None, actions=None)
