"""Evaluates a model beside the baselines, on any number of ranks to the same digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

from seqrec.evaluation.baselines import ItemKNN, Popular
from seqrec.evaluation.bootstrap import measure
from seqrec.evaluation.metrics import CUTOFFS
from seqrec.evaluation.results import EvaluationResult, MetricValue, UserCounts
from seqrec.evaluation.users import rank_users
from seqrec.models import SequenceModel
from seqrec.ranking import ItemLists, rank
from seqrec.store import Sequences
from seqrec.store.split import Part
from seqrec.stream import EvaluationBatch, EvaluationStream, SequenceDataModule
from seqrec.stream.collate import flatten

Int64 = npt.NDArray[np.int64]
LONGEST = max(CUTOFFS)


class _RankUsers(L.LightningModule):
    """Collects each user's target rank and list; gathers them from all ranks."""

    def __init__(self, model: SequenceModel):
        super().__init__()
        self.model = model
        self._found: list[Tensor] = []
        self.results: Int64 = np.empty((0, LONGEST + 2), dtype=np.int64)

    def test_step(self, batch: EvaluationBatch, batch_idx: int) -> None:
        if not len(batch.rows):
            return
        ranked = rank_users(self.model, batch, k=LONGEST)
        assert ranked.target_rank is not None
        self._found.append(torch.column_stack([batch.rows, ranked.target_rank, ranked.top_items]))

    def on_test_epoch_end(self) -> None:
        width = LONGEST + 2
        found = torch.cat(self._found) if self._found else torch.empty(0, width, dtype=torch.int64, device=self.device)
        gathered = _gather(found).cpu().numpy()
        self.results = gathered[np.argsort(gathered[:, 0])]


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
    trainer = L.Trainer(
        accelerator=accelerator,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    ranker = _RankUsers(model)
    trainer.test(ranker, stream.loader(trainer.global_rank, trainer.world_size), verbose=False)
    if not trainer.is_global_zero:
        return None
    counts = stream.counts
    training_counts = data.split.train_counts[1:]
    return EvaluationResult(
        protocol={"part": part, **data.split.describe(), "max_length": data.settings.max_length},
        counts=UserCounts(counts.users, counts.left_out, counts.cold_targets),
        model=measure(ranker.results[:, 1], ranker.results[:, 2:], training_counts),
        baselines=_baselines(data, stream, training_counts),
    )


def _baselines(
    data: SequenceDataModule, stream: EvaluationStream, training_counts: Int64
) -> Mapping[str, Mapping[str, MetricValue]]:
    n_items = data.store.manifest.counts.items
    fitted: dict[str, Any] = {
        "popular": Popular.fit(_training_sequences(data), n_items),
        "item_knn": ItemKNN.fit(_training_sequences(data), n_items),
    }
    filters = data.split.settings.seen == "filter"
    found: dict[str, list[Int64]] = {name: [] for name in fitted}
    for window in stream.plan.windows:
        histories = stream.read(window.units)
        for start in range(0, len(histories.rows), 512):
            some = slice(start, start + 512)
            lists = ItemLists(
                *map(torch.from_numpy, flatten(histories.items, histories.starts[some], histories.lengths[some]))
            )
            assert histories.targets is not None  # of a part
            targets = torch.from_numpy(histories.targets[some])
            for name, baseline in fitted.items():
                ranked = rank(baseline.scorer(lists), k=LONGEST, targets=targets, seen=lists if filters else None)
                assert ranked.target_rank is not None
                found[name].append(torch.column_stack([ranked.target_rank, ranked.top_items]).numpy())
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    return {name: measure(rows[:, 0], rows[:, 1:], training_counts) for name, rows in joined.items()}


def _training_sequences(data: SequenceDataModule) -> Iterator[Sequences]:
    """The store's sequences cut to what is trained on."""
    for sequences in data.store.scan(data.split.columns):
        lengths = data.split.train_end(sequences)
        offsets, items = flatten(sequences.items, sequences.offsets[:-1], lengths)
        yield replace(sequences, offsets=offsets, items=items.astype(np.int32), timestamps=None, actions=None)


def _gather(rows: Tensor) -> Tensor:
    """Rows of all ranks; every rank sends as many as the longest has, and says how many count."""
    if not (dist.is_available() and dist.is_initialized()):
        return rows
    sizes = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
    longest = int(max(sizes))
    padded = torch.nn.functional.pad(rows, (0, 0, 0, longest - len(rows)))
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(size)] for part, size in zip(parts, sizes, strict=True)])
