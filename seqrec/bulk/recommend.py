"""Recommends to every user of a store, on any number of ranks to the same rows, and resumes where it was stopped."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from seqrec.bulk.folder import BulkFolder, BulkRequest
from seqrec.evaluation import rank_users, ranking_trainer
from seqrec.models import RankingModel, SlateModel, fingerprint
from seqrec.ranking import Diversifier, Ranked
from seqrec.store import SequenceStore
from seqrec.stream import EvaluationBatch, EvaluationStream, SequenceDataModule


def recommend_all(
    model: RankingModel,
    data: SequenceDataModule,
    out: str | Path,
    *,
    k: int = 10,
    diversifier: Diversifier | None = None,
    devices: int = 1,
    accelerator: str = "auto",
    fresh: bool = False,
    progress: bool = False,
) -> int | None:
    """Writes the top k after each user's whole sequence as Parquet, one part a window of the store.

    Rows have ``user_id`` string, ``items`` list<string>, best first, and ``scores`` list<float>; lists are shorter than
    k where fewer items are left. Parts and their rows do not depend on the number of processes. The same call again
    writes the parts that are missing. Memory holds one window and its lists.

    Args:
        model: what recommends.
        data: the store, with the policy for seen items.
        out: folder, new or of the same request.
        k: length of the lists, >= 1.
        diversifier: re-ranks lists, or None.
        devices: processes.
        accelerator: as Lightning names it.
        fresh: throws away what an earlier request left in the folder.
        progress: shows a bar.
    Returns:
        Users that have a row; None on processes other than the first.
    Raises:
        RunError: the folder holds another request, or something else.
        UnsupportedError: the model's lists are shorter than k.
        MetricError: a score is NaN.
        StoreError: no user has an event.
    """
    model.check_list(k)
    stream = data.evaluation(None)
    request = BulkRequest(
        model=fingerprint(model),
        store=data.store.manifest.fingerprint,
        k=k,
        decoding=model.decoding.model_dump(mode="json") if isinstance(model, SlateModel) else None,
        diversify=None if diversifier is None else str(diversifier.wanted),
        seen=data.split.settings.seen,
        max_length=data.settings.max_length,
        batch_tokens=data.settings.evaluation_tokens,
        parts=len(stream.plan.windows),
    )
    folder = BulkFolder(out, request)
    if not fresh:
        folder.check()  # before processes are started
    trainer = ranking_trainer(accelerator=accelerator, devices=devices, progress=progress)
    writer = _WriteParts(model, data.store, stream, folder, diversifier=diversifier, fresh=fresh)
    trainer.predict(writer, datamodule=_Parts(writer), return_predictions=False)
    if not trainer.is_global_zero:
        return None
    return folder.finish(without_history=data.store.manifest.counts.users - stream.counts.users)


class _WriteParts(L.LightningModule):
    """Ranks batches in order and writes a part when its window ends; part p is the business of rank p % W."""

    def __init__(
        self,
        model: RankingModel,
        store: SequenceStore,
        stream: EvaluationStream,
        folder: BulkFolder,
        *,
        diversifier: Diversifier | None,
        fresh: bool,
    ):
        super().__init__()
        self.model = model
        self.stream = stream
        self.batches: list[int] = []
        self._store = store
        self._folder = folder
        self._diversifier = diversifier
        self._fresh = fresh
        self._item_ids = pa.array(store.catalogue.item_ids, pa.string())
        self._found: list[tuple[Tensor, Ranked]] = []

    def setup(self, stage: str) -> None:
        """Claims the folder, and finds what is left to do."""
        if self.trainer.is_global_zero:
            self._folder.claim(fresh=self._fresh)
        self.trainer.strategy.barrier()
        windows = self.stream.plan.windows
        self.batches = [
            window.first_slot + slot
            for part in range(self.global_rank, len(windows), self.trainer.world_size)
            if not self._folder.part(part).is_file()
            for window in [windows[part]]
            for slot in range(window.n_slots)
        ]

    def predict_step(self, batch: EvaluationBatch, batch_idx: int) -> None:
        """Ranks one batch; writes the part that it completes."""
        if not len(batch.rows):
            return
        ranked = rank_users(self.model, batch, k=self._folder.request.k, diversifier=self._diversifier)
        self._found.append((batch.rows.cpu(), Ranked(None, ranked.top_items.cpu(), ranked.top_scores.cpu())))
        part = self.stream.plan.window_at(self.batches[batch_idx])
        window = self.stream.plan.windows[part]
        if self.batches[batch_idx] == window.first_slot + window.n_slots - 1:
            self._folder.write(part, self._table(window.units))
            self._found = []

    def on_predict_end(self) -> None:
        """Waits for all ranks."""
        self.trainer.strategy.barrier()

    def _table(self, units: tuple[int, ...]) -> pa.Table:
        """The window's rows in the store's order."""
        rows = torch.cat([rows for rows, _ in self._found])
        order = rows.argsort()
        items = torch.cat([ranked.top_items for _, ranked in self._found])[order].numpy()
        scores = torch.cat([ranked.top_scores for _, ranked in self._found])[order].numpy()
        held = items > 0
        offsets = pa.array(np.concatenate([[0], np.cumsum(held.sum(axis=1))]).astype(np.int32))
        return pa.table(
            {
                "user_id": self._user_ids(units, rows[order].numpy()),
                "items": pa.ListArray.from_arrays(offsets, self._item_ids.take(pa.array(items[held] - 1))),
                "scores": pa.ListArray.from_arrays(offsets, pa.array(scores[held])),
            }
        )

    def _user_ids(self, units: tuple[int, ...], rows: np.ndarray) -> pa.Array:
        ids, numbers = [], []
        for unit in (self._store.units[index] for index in units):
            ids += self._store.read_table(unit, columns=["user_id"]).column("user_id").chunks
            numbers.append(np.arange(unit.first_row, unit.first_row + unit.rows))
        return pa.concat_arrays(ids).take(pa.array(np.searchsorted(np.concatenate(numbers), rows)))


class _Parts(L.LightningDataModule):
    """The batches that a rank has left; asked for once the folder is claimed."""

    def __init__(self, writer: _WriteParts):
        super().__init__()
        self._writer = writer

    def predict_dataloader(self) -> torch.utils.data.DataLoader[EvaluationBatch]:
        """As Lightning asks for it."""
        return self._writer.stream.loader_of(self._writer.batches)
