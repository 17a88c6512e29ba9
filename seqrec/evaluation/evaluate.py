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
from seqrec.evaluation.metrics import CUTOFFS
from seqrec.evaluation.results import EvaluationResult, UserCounts
from seqrec.evaluation.tally import Tally
from seqrec.evaluation.trainer import ranking_trainer
from seqrec.evaluation.users import rank_users
from seqrec.models import SequenceModel
from seqrec.ranking import ItemLists, Ranked, rank
from seqrec.store import Sequences
from seqrec.store.split import Part
from seqrec.stream import EvaluationBatch, EvaluationStream, SequenceDataModule
from seqrec.stream.collate import flatten
from seqrec.stream.order_windows import Window

LONGEST = max(CUTOFFS)
_MODEL = "model"


class _RankUsers(L.LightningModule):
    """Tallies the users of each rank, the model's lists and the baselines', and sums over ranks."""

    def __init__(self, model: SequenceModel, data: SequenceDataModule, stream: EvaluationStream):
        super().__init__()
        self.model = model
        self.tallies: dict[str, Tally] = {}
        self._data = data
        self._stream = stream
        self._own = Tally(data.split.train_counts[1:])

    def test_step(self, batch: EvaluationBatch, batch_idx: int) -> None:
        if len(batch.rows):
            _count(self._own, batch.rows, rank_users(self.model, batch, k=LONGEST))

    def on_test_epoch_end(self) -> None:
        windows = self._stream.plan.windows[self.global_rank :: self.trainer.world_size]
        self.tallies = {_MODEL: self._own} | _baselines(self._data, self._stream, windows)
        for tally in self.tallies.values():
            tally.sum_over_ranks(self.device)


def evaluate(
    model: SequenceModel,
    data: SequenceDataModule,
    *,
    part: Part = "test",
    devices: int = 1,
    accelerator: str = "auto",
    progress: bool = False,
) -> EvaluationResult | None:
    """Ranks every item for every user with a target, and does the same with the baselines.

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
        MetricError: a score is NaN.
        StoreError: the split leaves no user.
    """
    stream = data.evaluation(part)
    trainer = ranking_trainer(accelerator=accelerator, devices=devices, progress=progress)
    ranker = _RankUsers(model, data, stream)
    trainer.test(ranker, stream.loader(trainer.global_rank, trainer.world_size), verbose=False)
    if not trainer.is_global_zero:
        return None
    counts = stream.counts
    metrics = {name: tally.metrics() for name, tally in ranker.tallies.items()}
    return EvaluationResult(
        protocol={"part": part, **data.split.describe(), "max_length": data.settings.max_length},
        counts=UserCounts(counts.users, counts.left_out, counts.cold_targets),
        model=metrics.pop(_MODEL),
        baselines=metrics,
    )


def _baselines(data: SequenceDataModule, stream: EvaluationStream, windows: Sequence[Window]) -> dict[str, Tally]:
    """The baselines' lists for the users of some windows."""
    n_items = data.store.manifest.counts.items
    fitted: dict[str, Any] = {
        "popular": Popular.fit(_training_sequences(data), n_items),
        "item_knn": ItemKNN.fit(_training_sequences(data), n_items),
    }
    filters = data.split.settings.seen == "filter"
    tallies = {name: Tally(data.split.train_counts[1:]) for name in fitted}
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
                ranked = rank(baseline.scorer(lists), k=LONGEST, targets=targets, seen=lists if filters else None)
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
