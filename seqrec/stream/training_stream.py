"""The store as training batches, in the order of `seqrec.stream.order`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from seqrec.random import row_keys
from seqrec.store.sequences import Sequences
from seqrec.store.split import Split
from seqrec.store.store import SequenceStore
from seqrec.stream.batches import Position, TrainingBatch
from seqrec.stream.collate import pad
from seqrec.stream.in_batch import offered
from seqrec.stream.order import EpochPlan, fingerprint, plan, steps_per_epoch
from seqrec.stream.order_share import Share, micro_batches_per_step, share, stripe
from seqrec.stream.settings import DataSettings

Int64 = npt.NDArray[np.int64]
_SHORTEST = 2  # events of a sequence that can teach anything: one to see and one to predict


class Task(Protocol):
    """What training asks of a sequence; the heads of `seqrec.models.heads` are tasks."""

    extra_events: int

    def pairs(self, items: Tensor, lengths: Tensor, keys: npt.NDArray[np.uint64]) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (B, L), their lengths (B,) and targets (B, L) of right-padded sequences."""


class MicroBatch(NamedTuple):
    """Names one micro-batch of one rank."""

    epoch: int
    step: int
    number: int


@dataclass(frozen=True)
class _Rows:
    """Trainable rows of a window, as slices of flat events."""

    rows: Int64
    items: npt.NDArray[np.int32]
    starts: Int64
    lengths: Int64


class TrainingStream(Dataset[TrainingBatch]):
    """Map-style over micro-batches; holds one window a partition in memory.

    Args:
        store: the store.
        split: the protocol over it.
        settings: token budget, partitions, window, longest input.
        task: makes inputs and targets.
        seed: of the order and of what the task draws.
        in_batch: targets that a step takes as its negatives.

    Attributes:
        n_steps: steps of an epoch.
        n_partitions: partitions in use, fewer than asked for where the store has fewer units.
    """

    def __init__(
        self, store: SequenceStore, split: Split, settings: DataSettings, task: Task, *, seed: int, in_batch: int = 0
    ):
        self._store = store
        self._split = split
        self._settings = settings
        self._task = task
        self._seed = seed
        self._in_batch = in_batch
        self._max_events = settings.max_length + task.extra_events
        facts = [self._count(store.read(unit, split.columns)) for unit in store.units]
        self._unit_rows, self._unit_tokens = np.array(facts, dtype=np.int64).reshape(-1, 2).T
        self.n_steps = steps_per_epoch(
            self._unit_rows, self._unit_tokens, partitions=settings.partitions, step_tokens=settings.step_tokens
        )
        self.n_partitions = min(settings.partitions, int(np.count_nonzero(self._unit_rows)))
        self._rank, self._world_size = 0, 1
        self._plan: EpochPlan | None = None
        self._windows: dict[int, tuple[int, _Rows, list[Int64]]] = {}
        self._step: tuple[Position, list[TrainingBatch]] | None = None

    @property
    def n_rows(self) -> int:
        """Sequences that are trained on."""
        return int(self._unit_rows.sum())

    @property
    def n_tokens(self) -> int:
        """Inputs of an epoch."""
        return int(self._unit_tokens.sum())

    @property
    def micro_batches(self) -> int:
        """G: micro-batches that each rank takes a step."""
        return micro_batches_per_step(self.n_partitions, self._world_size)

    @property
    def fingerprint(self) -> str:
        """Names the order; a position means nothing under another one."""
        return fingerprint(
            self._store.manifest.fingerprint,
            json.dumps(self._split.describe(), sort_keys=True),
            length_rule=f"latest {self._max_events}, at least {_SHORTEST}, {self._task.extra_events} not input",
            seed=self._seed,
            partitions=self._settings.partitions,
            step_tokens=self._settings.step_tokens,
            window_tokens=self._settings.window_tokens,
        )

    def place(self, rank: int, world_size: int) -> None:
        """Says which rank this process is."""
        self._rank, self._world_size = rank, world_size
        self._step = None

    def __len__(self) -> int:
        return self.n_steps * self.micro_batches

    def __getitem__(self, at: MicroBatch) -> TrainingBatch:
        position = Position(at.epoch, at.step)
        if self._step is None or self._step[0] != position:
            self._step = (position, self._make_step(position))
        return self._step[1][at.number]

    def _make_step(self, position: Position) -> list[TrainingBatch]:
        parts = share(self.n_partitions, self._world_size, self._rank)
        batches = [self._make(position, part) for part in parts]
        batches += [self._filler(position)] * (self.micro_batches - len(batches))
        targets = sum(int((batch.targets != 0).sum()) for batch in batches)
        tokens = sum(int(batch.lengths.sum()) for batch in batches if len(batch.rows))
        in_batch = offered(batches, self._in_batch, seed=self._seed)
        after = Position(position.epoch, position.step + 1)
        if after.step == self.n_steps:
            after = Position(position.epoch + 1, 0)
        return [
            TrainingBatch(
                batch.inputs, batch.lengths, batch.targets, batch.rows, targets, tokens, position, number,
                after if number == self.micro_batches - 1 else position, in_batch,
            )
            for number, batch in enumerate(batches)
        ]  # fmt: skip

    def _make(self, position: Position, part: Share) -> TrainingBatch:
        rows, slot = self._slot(position, part.partition)
        chosen = slot[stripe(len(slot), part)]
        if not len(chosen):
            return self._filler(position)
        lengths = rows.lengths[chosen]
        items = pad(rows.items, rows.starts[chosen], lengths)
        keys = row_keys(self._seed, position.epoch, rows.rows[chosen], "task")
        pairs = self._task.pairs(items, torch.from_numpy(lengths), keys)
        return TrainingBatch(*pairs, torch.from_numpy(rows.rows[chosen]), 0, 0, position, 0, position)

    def _filler(self, position: Position) -> TrainingBatch:
        """A row without a target, so that a rank without rows still meets the others in their collectives."""
        one = torch.ones(1, 1, dtype=torch.long)
        return TrainingBatch(
            one, one[0], torch.zeros_like(one), torch.empty(0, dtype=torch.long), 0, 0, position, 0, position
        )

    def _slot(self, position: Position, partition: int) -> tuple[_Rows, Int64]:
        if self._plan is None or self._plan.epoch != position.epoch:
            self._plan = plan(
                self._unit_rows,
                self._unit_tokens,
                partitions=self._settings.partitions,
                step_tokens=self._settings.step_tokens,
                window_tokens=self._settings.window_tokens,
                seed=self._seed,
                epoch=position.epoch,
            )
            self._windows.clear()
        window = self._plan.window_at(partition, position.step)
        if partition not in self._windows or self._windows[partition][0] != window:
            rows = self._read(self._plan.partitions[partition][window].units)
            slots = self._plan.slots(partition, window, rows.lengths - self._task.extra_events)
            self._windows[partition] = (window, rows, slots)
        _, rows, slots = self._windows[partition]
        return rows, slots[position.step - self._plan.partitions[partition][window].first_slot]

    def _read(self, units: tuple[int, ...]) -> _Rows:
        parts, shift = [], 0
        for unit in units:
            part = self._trainable(self._store.read(self._store.units[unit], self._split.columns))
            parts.append(_Rows(part.rows, part.items, part.starts + shift, part.lengths))
            shift += len(part.items)
        names = ("rows", "items", "starts", "lengths")
        return _Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def _trainable(self, sequences: Sequences) -> _Rows:
        end = self._split.train_end(sequences)
        lengths = np.minimum(end, self._max_events)
        keep = lengths >= _SHORTEST
        starts = sequences.offsets[:-1] + end - lengths
        return _Rows(sequences.rows[keep], sequences.items, starts[keep], lengths[keep])

    def _count(self, sequences: Sequences) -> tuple[int, int]:
        rows = self._trainable(sequences)
        return len(rows.rows), int(rows.lengths.sum()) - len(rows.rows) * self._task.extra_events
