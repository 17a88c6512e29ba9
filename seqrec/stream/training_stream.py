"""The store as training batches, in the order of `seqrec.stream.order`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby
from operator import attrgetter
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqrec.event_columns import EventColumns
from seqrec.store.split import Split
from seqrec.store.store import SequenceStore, Unit
from seqrec.stream.ahead import Workers, ahead
from seqrec.stream.batches import Position, TrainingBatch
from seqrec.stream.collate import pad
from seqrec.stream.columns import pad_columns
from seqrec.stream.fixed_shapes import FixedShapes
from seqrec.stream.in_batch import offered
from seqrec.stream.order import EpochPlan, fingerprint, plan, steps_per_epoch
from seqrec.stream.order_share import Share, micro_batches_per_step, share, stripe
from seqrec.stream.order_windows import Window
from seqrec.stream.settings import DataSettings
from seqrec.stream.trainable import Labels, TrainableRows, TrainableRule, keys_of, rows_of
from seqrec.users import UserValues

Int64 = npt.NDArray[np.int64]
# Steps that one job collates at most, since handing over a small step costs about as much as making it. A window has 64
# and more, so that jobs made ahead seldom want the window after next.
_JOB_STEPS = 8
_JOB_TOKENS = 131_072  # of such a job, or one step where that has more, so that large steps do not pile up
_READ_AT_ONCE = 8  # units of a shard, since threads that take turns after each pass more time waiting than reading
_COUNTED_AHEAD = 8  # units a thread, which keeps it busy and holds little


class Task(Protocol):
    """What training asks of a sequence; the heads of `seqrec.models.heads` are tasks."""

    extra_events: int

    def pairs(
        self, items: Tensor, lengths: Tensor, keys: npt.NDArray[np.uint64], events: EventColumns
    ) -> tuple[Tensor, Tensor, Tensor, EventColumns]:
        """Inputs (B, L), their lengths (B,), targets (B, L) and the inputs' columns, of right-padded sequences."""

    def n_targets(self, targets: Tensor) -> int:
        """How many targets the loss of such a batch is a sum over."""


@dataclass(frozen=True)
class _ReadWindow:
    """A window's sequences, slot after slot, and their keys: those of slot i are ``bounds[i]:bounds[i + 1]``."""

    rows: TrainableRows
    keys: npt.NDArray[np.uint64]
    bounds: list[int]


@dataclass(frozen=True)
class _Reading:
    """A window of a partition that is being read."""

    partition: int
    window: Window
    read: Future[_ReadWindow]

    @property
    def end(self) -> int:
        """The first step after it."""
        return self.window.first_slot + self.window.n_slots


class TrainingStream:
    """The training batches of one rank, from any position on.

    Holds one window for each of the rank's partitions, and one more while it reads ahead.

    Args:
        store: the store.
        split: the protocol over it.
        settings: token budget, partitions, window, longest input, threads.
        task: makes inputs and targets; called from several threads.
        seed: of the order and of what the task draws.
        in_batch: targets that a step takes as its negatives.
        columns: what batches carry of the events beside their items.
        labels: what became of events, for a task that asks; made of whole sequences with ``label_columns``.
        label_columns: of the store.
        users: how attributes of the users are written, where batches are to carry some.

    Attributes:
        n_steps: steps of an epoch.
        n_partitions: partitions in use, fewer than asked for where the store has fewer units.
        micro_batches: G, those that each rank takes a step.
    """

    def __init__(
        self,
        store: SequenceStore,
        split: Split,
        settings: DataSettings,
        task: Task,
        *,
        seed: int,
        in_batch: int = 0,
        columns: Sequence[str] = (),
        labels: Labels | None = None,
        label_columns: Sequence[str] = (),
        users: UserValues | None = None,
    ):
        self._store = store
        self._split = split
        self._settings = settings
        self._task = task
        self._seed = seed
        self._in_batch = in_batch
        self._columns = columns
        of_users = () if users is None else users.columns
        self._read_columns = tuple(dict.fromkeys((*split.columns, *columns, *label_columns, *of_users)))
        self._rule = TrainableRule(split, settings, task.extra_events, columns, labels, users)
        self._unit_rows, self._unit_tokens, self._histogram = self._count()
        self.n_steps = steps_per_epoch(
            self._unit_rows, self._unit_tokens, partitions=settings.partitions, step_tokens=settings.step_tokens
        )
        self.n_partitions = min(settings.partitions, int(np.count_nonzero(self._unit_rows)))
        self.place(0, 1)

    @property
    def n_rows(self) -> int:
        """Sequences that are trained on."""
        return int(self._unit_rows.sum())

    @property
    def n_tokens(self) -> int:
        """Inputs of an epoch."""
        return int(self._unit_tokens.sum())

    @property
    def fingerprint(self) -> str:
        """Names the order; a position means nothing under another one."""
        return fingerprint(
            self._store.manifest.fingerprint,
            json.dumps(self._split.describe(), sort_keys=True),
            length_rule=self._rule.describe(),
            seed=self._seed,
            partitions=self._settings.partitions,
            step_tokens=self._settings.step_tokens,
            window_tokens=self._settings.window_tokens,
        )

    def place(self, rank: int, world_size: int) -> None:
        """Says which rank this process is."""
        self._rank, self._world_size = rank, world_size
        self._shapes = self._fixed_shapes()
        self.micro_batches = micro_batches_per_step(self.n_partitions, world_size)

    def __len__(self) -> int:
        """Micro-batches of a whole epoch."""
        return self.n_steps * self.micro_batches

    def batches(self, position: Position, *, pin_memory: bool = False) -> Iterator[TrainingBatch]:
        """The rank's micro-batches from a position to the end of its epoch, the same with any number of threads.

        Nothing is read before the first is asked for. Dropping the iterator ends its threads, and what fails in one of
        them is raised here.

        Args:
            position: where to begin.
            pin_memory: put tensors where a GPU fetches them without a copy in between.
        """
        for step in self._steps(position, self._settings.prefetch_threads, pin_memory):
            yield from step

    def step(self, position: Position) -> list[TrainingBatch]:
        """The rank's micro-batches of one step alone: reads a window of each of its partitions."""
        return next(self._steps(position, threads=0, pin_memory=False, most_steps=1))

    def _steps(
        self, position: Position, threads: int, pin_memory: bool, most_steps: int = _JOB_STEPS
    ) -> Iterator[list[TrainingBatch]]:
        order = plan(
            self._unit_rows,
            self._unit_tokens,
            partitions=self._settings.partitions,
            step_tokens=self._settings.step_tokens,
            window_tokens=self._settings.window_tokens,
            seed=self._seed,
            epoch=position.epoch,
        )
        shares = share(self.n_partitions, self._world_size, self._rank)
        steps_a_job = max(1, min(most_steps, _JOB_TOKENS * self._world_size // self._settings.step_tokens))
        with Workers(threads) as workers:
            readings = ahead(self._readings(order, shares, position.step, workers), min(threads, 1))
            jobs = self._jobs(order, shares, position.step, steps_a_job, readings, workers, pin_memory)
            for job in ahead(jobs, threads):
                yield from job.result()

    def _readings(
        self, order: EpochPlan, shares: Sequence[Share], first_step: int, workers: Workers
    ) -> Iterator[_Reading]:
        """The rank's windows, each when its first step comes."""
        wanted = [
            (window.first_slot, part.partition, number)
            for part in shares
            for number, window in enumerate(order.partitions[part.partition])
            if window.first_slot + window.n_slots > first_step
        ]
        for _, partition, number in sorted(wanted):
            window = order.partitions[partition][number]
            yield _Reading(partition, window, self._submit_window(order, partition, number, workers))

    def _jobs(
        self,
        order: EpochPlan,
        shares: Sequence[Share],
        first_step: int,
        steps_a_job: int,
        readings: Iterator[_Reading],
        workers: Workers,
        pin_memory: bool,
    ) -> Iterator[Future[list[list[TrainingBatch]]]]:
        """Batches to come, of some steps at a time that lie in one window of each partition."""
        current: dict[int, _Reading] = {}
        step = first_step
        while step < self.n_steps:
            while len(current) < len(shares) or any(reading.end <= step for reading in current.values()):
                reading = next(readings)
                current[reading.partition] = reading
            stop = min(step + steps_a_job, *(reading.end for reading in current.values()))
            parts = [(part, current[part.partition]) for part in shares]
            yield workers.submit(self._make_steps, order.epoch, range(step, stop), parts, pin_memory)
            step = stop

    def _submit_window(self, order: EpochPlan, partition: int, number: int, workers: Workers) -> Future[_ReadWindow]:
        # a function of its own, which returns and lets go of the units; the generator would hold them beside the window
        units = [self._store.units[unit] for unit in order.partitions[partition][number].units]
        read = [workers.submit(self._read_units, some) for some in _at_once(units)]
        return workers.submit(self._read_window, order, partition, number, read)

    def _read_units(self, units: Sequence[Unit]) -> TrainableRows:
        return self._rule(self._store.read(*units, columns=self._read_columns))

    def _read_window(
        self, order: EpochPlan, partition: int, number: int, read: list[Future[TrainableRows]]
    ) -> _ReadWindow:
        rows = self._rule.join([some.result() for some in read])
        slots = order.slots(partition, number, rows.lengths - self._task.extra_events)
        # in slot order and with keys here, since many small calls, one a step, take longer than one for all
        rows = rows[np.concatenate(slots)]
        keys = keys_of(rows.ids, self._seed, order.epoch)
        return _ReadWindow(rows, keys, np.cumsum([0, *map(len, slots)]).tolist())

    def _make_steps(
        self, epoch: int, steps: range, parts: Sequence[tuple[Share, _Reading]], pin_memory: bool
    ) -> list[list[TrainingBatch]]:
        made = [self._make_step(Position(epoch, step), parts) for step in steps]
        return [[batch.pin_memory() for batch in batches] for batches in made] if pin_memory else made

    def _make_step(self, position: Position, parts: Sequence[tuple[Share, _Reading]]) -> list[TrainingBatch]:
        batches = [self._make(position, part, reading) for part, reading in parts]
        batches += [self._filler(position)] * (self.micro_batches - len(batches))
        if self._shapes is not None:
            batches = [self._shapes.training(batch) for batch in batches]
        targets = sum(self._task.n_targets(batch.targets) for batch in batches)
        tokens = sum(int(batch.lengths[: len(batch.rows)].sum()) for batch in batches)
        in_batch = offered(batches, self._in_batch, seed=self._seed)
        after = Position(position.epoch, position.step + 1)
        if after.step == self.n_steps:
            after = Position(position.epoch + 1, 0)
        last = len(batches) - 1
        return [
            replace(
                batch,
                step_targets=targets,
                step_tokens=tokens,
                micro_batch=number,
                after=after if number == last else position,
                in_batch=in_batch,
            )
            for number, batch in enumerate(batches)
        ]

    def _make(self, position: Position, part: Share, reading: _Reading) -> TrainingBatch:
        window, slot = reading.read.result(), position.step - reading.window.first_slot
        begin, end = window.bounds[slot : slot + 2]
        some = stripe(end - begin, part)
        chosen = slice(begin + some.start, begin + some.stop)
        rows, keys = window.rows[chosen], window.keys[chosen]
        if not len(keys):
            return self._filler(position)
        items = pad(rows.items, rows.starts, rows.lengths)
        events = pad_columns(rows.columns, rows.starts, rows.lengths, rows.users)
        pairs = self._task.pairs(items, torch.from_numpy(rows.lengths), keys, events)
        named = torch.from_numpy(rows_of(rows.ids)), torch.from_numpy(keys.view(np.int64))
        return TrainingBatch(*pairs, *named, 0, 0, position, 0, position)

    def _filler(self, position: Position) -> TrainingBatch:
        """A row without a target, so that a rank without rows still meets the others in their collectives."""
        one, none = torch.ones(1, 1, dtype=torch.long), torch.empty(0, dtype=torch.long)
        events = EventColumns.blank(self._columns, (1, 1))
        return TrainingBatch(one, one[0], torch.zeros_like(one), events, none, none, 0, 0, position, 0, position)

    def _fixed_shapes(self) -> FixedShapes | None:
        if self._settings.length_buckets is None:
            return None
        shares = share(self.n_partitions, self._world_size, self._rank)
        part = Fraction(max(part.last - part.first for part in shares), shares[0].of)
        n_slots = self.n_steps * self.n_partitions
        return FixedShapes(self._settings.length_buckets, self._histogram, n_slots, part=part)

    def _count(self) -> tuple[Int64, Int64, Int64]:
        """Rows and tokens of each unit, and rows of all by tokens; holds a few units at a time."""
        columns, tokens = self._split.columns, np.arange(self._settings.max_length + 1)
        unit_rows, unit_tokens, whole = [], [], np.zeros_like(tokens)
        with Workers(self._settings.prefetch_threads) as workers:
            counts = (
                workers.submit(lambda unit: self._rule.count(self._store.read(unit, columns=columns)), unit)
                for unit in self._store.units
            )
            for count in ahead(counts, _COUNTED_AHEAD * workers.n):
                rows = count.result()
                whole += rows
                unit_rows.append(int(rows.sum()))
                unit_tokens.append(int(rows @ tokens))
        return np.array(unit_rows, np.int64), np.array(unit_tokens, np.int64), whole


def _at_once(units: Sequence[Unit]) -> Iterator[tuple[Unit, ...]]:
    """The units in pieces that are read together, each of one shard."""
    for _, of_shard in groupby(units, key=attrgetter("shard")):
        some = tuple(of_shard)
        yield from (some[start : start + _READ_AT_ONCE] for start in range(0, len(some), _READ_AT_ONCE))
