"""Any store, any ranks, any threads, stopped and resumed anywhere: every sequence once an epoch, in the same steps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from seqrec.models import MaskedItemSettings, NextItemSettings, build_head
from seqrec.store.split import resolve
from seqrec.stream import DataSettings, Position, TrainingBatch, TrainingStream

from .stores import write_store

Sequence = tuple[int, int, int]  # row, first event, events


@dataclass(frozen=True)
class Case:
    """A store and what is asked of it."""

    lengths: list[int]
    per_unit: int
    empty_shards: bool
    masked: bool
    data: dict[str, Any]

    @property
    def expected(self) -> Counter[Sequence]:
        """The sequences of an epoch, found by loops."""
        long, extra = self.data["long_histories"], 0 if self.masked else 1
        most = self.data["max_length"] + extra
        found: list[Sequence] = []
        for row, length in enumerate(self.lengths):
            stop = length - 2  # leave-one-out gives up two events
            if stop < 2:
                continue
            while True:
                start = max(stop - most, 0)
                found.append((row, start, stop - start))
                if start == 0 or long["kind"] == "latest":
                    break
                stop -= long.get("stride", self.data["max_length"])
        return Counter(found)

    def stream(self, path: Path) -> TrainingStream:
        """The stream of a store written to ``path``."""
        store = write_store(path, self.lengths, per_unit=self.per_unit, empty_shards=self.empty_shards)
        fields = DataSettings.model_validate(self.data | {"store": str(store.path)})
        head = build_head(MaskedItemSettings(kind="masked_item") if self.masked else NextItemSettings())
        return TrainingStream(store, resolve(fields.split, store), fields, head, seed=3)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    lengths = draw(st.lists(st.integers(1, 24), max_size=40))
    lengths.insert(draw(st.integers(0, len(lengths))), draw(st.integers(4, 60)))  # at least one can be trained on
    max_length = draw(st.integers(2, 12))
    long = draw(st.sampled_from(["latest", "sliding", "chunks"]))
    stride = {"stride": draw(st.integers(1, max_length))} if long == "sliding" else {}
    return Case(
        lengths,
        per_unit=draw(st.integers(1, 12)),
        empty_shards=draw(st.booleans()),
        masked=draw(st.booleans()),
        data={
            "max_length": max_length,
            "long_histories": {"kind": long} | stride,
            "step_tokens": draw(st.integers(1, 60)),
            "partitions": draw(st.integers(1, 6)),
            "window_tokens": 1,
            "prefetch_threads": draw(st.integers(0, 4)),
        },
    )


def sequences(batches: list[TrainingBatch], *, masked: bool) -> Counter[Sequence]:
    """Items of these stores are 1 + their position in the history, so that a batch tells which part of it it holds."""
    found: Counter[Sequence] = Counter()
    for batch in batches:
        for i, row in enumerate(batch.rows.tolist()):
            length, inputs, targets = int(batch.lengths[i]), batch.inputs[i], batch.targets[i]
            if masked:
                shown = [int(target or item) for item, target in zip(inputs[:length], targets[:length], strict=True)]
            else:
                shown = [*inputs[:length].tolist(), int(targets[length - 1])]
                assert targets[:length].tolist() == shown[1:]
            assert shown == list(range(shown[0], shown[0] + len(shown)))
            assert not inputs[length:].any()
            assert not targets[length:].any()
            found[row, shown[0] - 1, len(shown)] += 1
    return found


def steps(stream: TrainingStream, position: Position, rank: int, world_size: int) -> list[list[TrainingBatch]]:
    stream.place(rank, world_size)
    batches = list(stream.batches(position))
    assert [batch.micro_batch for batch in batches] == list(range(stream.micro_batches)) * (
        stream.n_steps - position.step
    )
    return [list(step) for _, step in groupby(batches, key=lambda batch: batch.position)]


@settings(max_examples=100, deadline=None)
@given(cases(), st.integers(0, 3), st.data())
def test_every_sequence_once_in_the_same_steps_however_run(case: Case, epoch: int, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        stream = case.stream(Path(folder) / "store")
        check(case, stream, epoch, data)


def check(case: Case, stream: TrainingStream, epoch: int, data: st.DataObject) -> None:
    whole = [sequences(step, masked=case.masked) for step in steps(stream, Position(epoch, 0), 0, 1)]
    assert len(whole) == stream.n_steps
    assert sum(whole, Counter()) == case.expected
    assert sum(case.expected.values()) == stream.n_rows

    step = 0
    while step < stream.n_steps:  # a run that stops and goes on with other ranks, each a new process
        world_size = data.draw(st.integers(1, 8), label="world size")
        stop = data.draw(st.integers(step + 1, stream.n_steps), label="stop")
        ranks = [steps(stream, Position(epoch, step), rank, world_size) for rank in range(world_size)]
        assert len({len(batches) for rank in ranks for batches in rank}) == 1
        for number in range(step, stop):
            taken = [batch for rank in ranks for batch in rank[number - step]]
            assert sequences(taken, masked=case.masked) == whole[number]
        after = ranks[0][stop - step - 1][-1].after
        assert after == (Position(epoch, stop) if stop < stream.n_steps else Position(epoch + 1, 0))
        step = stop
