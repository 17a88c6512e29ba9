"""Reading ahead in threads: nothing changes but the time, and nothing stays behind."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from seqrec.errors import StoreError
from seqrec.models import MaskedItemSettings, NextItemSettings, build_head
from seqrec.store import Sequences, SequenceStore, Unit
from seqrec.store.split import resolve
from seqrec.stream import DataSettings, Position, TrainingStream
from seqrec.stream.order import plan
from seqrec.stream.trainable import TrainableRows

from .batches import same
from .stores import write_store
from .threads import assert_no_workers, workers

Training = Callable[..., TrainingStream]
SEVERAL_WINDOWS = {"partitions": 2, "step_tokens": 16, "window_tokens": 200}


@pytest.mark.parametrize("head", ["next_item", "masked_item"])
def test_the_number_of_threads_changes_nothing(training: Training, head: str) -> None:
    alone = list(training(head=head, prefetch_threads=0, **SEVERAL_WINDOWS).batches(Position(1, 0)))
    assert len(alone) > 100
    for threads in (1, 2, 4):
        together = training(head=head, prefetch_threads=threads, **SEVERAL_WINDOWS).batches(Position(1, 0))
        assert all(same(one, other) for one, other in zip(alone, together, strict=True))
    assert_no_workers()


def test_no_thread_is_left_by_an_iterator_that_is_dropped_or_done(training: Training) -> None:
    stream = training(prefetch_threads=3, **SEVERAL_WINDOWS)
    assert_no_workers()
    for _ in range(20):
        batches = stream.batches(Position(0, 0))
        assert not workers()  # nothing is read before the first batch is asked for
        next(batches)
        assert 1 <= len(workers()) <= 3
        del batches
        assert_no_workers()
    for _ in stream.batches(Position(0, 0)):
        pass
    assert_no_workers()


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_what_fails_while_reading_is_raised_by_the_iterator(tmp_path: Path, threads: int) -> None:
    store = write_store(tmp_path / "store", [9] * 400, per_unit=100)
    stream = make_stream(store, prefetch_threads=threads, window_tokens=1, step_tokens=4)
    shard = store.path / store.units[0].shard
    moved = shard.rename(tmp_path / "elsewhere")
    batches = stream.batches(Position(0, 0))
    with pytest.raises(StoreError, match=shard.name):
        next(batches)
    assert_no_workers()
    moved.rename(shard)
    assert sum(len(batch.rows) for batch in stream.batches(Position(0, 0))) == 400


def test_a_process_ends_in_mid_epoch(tmp_path: Path) -> None:
    """Iterator and threads are alive when an exception ends it."""
    store = write_store(tmp_path / "store", [9] * 400, per_unit=100)
    script = (
        "import sys\n"
        "from seqrec.stream import DataSettings, SequenceDataModule\n"
        "from seqrec.models import NextItemSettings, build_head\n"
        "settings = DataSettings(store=sys.argv[1], step_tokens=8, prefetch_threads=3)\n"
        "data = SequenceDataModule(settings, build_head(NextItemSettings()), seed=1, max_history=9)\n"
        "batches = iter(data.train_dataloader())\n"
        "next(batches)\n"
        "raise RuntimeError('in mid-epoch')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(store.path)], timeout=120, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip().endswith("RuntimeError: in mid-epoch")


@pytest.mark.parametrize("threads", [0, 2])
def test_going_on_reads_one_window_a_partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """And one more, of some partition, where threads read ahead."""
    store = write_store(tmp_path / "store", [9] * 1500, per_unit=5)
    fields = {"partitions": 3, "step_tokens": 9, "window_tokens": 1}
    stream = make_stream(store, prefetch_threads=threads, **fields)
    read: list[int] = []

    def spy(*units: Unit, columns: Sequence[str]) -> Sequences:
        read.extend(store.units.index(unit) for unit in units)
        return SequenceStore.read(store, *units, columns=columns)

    monkeypatch.setattr(store, "read", spy)
    rows, tokens = np.full(300, 5), np.full(300, 30)
    for position in (Position(0, 0), Position(2, stream.n_steps // 2), Position(1, stream.n_steps - 1)):
        order = plan(rows, tokens, seed=1, epoch=position.epoch, **fields)  # type: ignore[arg-type]
        held = [windows[order.window_at(p, position.step)] for p, windows in enumerate(order.partitions)]
        needed = {unit for window in held for unit in window.units}
        largest = max(len(window.units) for windows in order.partitions for window in windows)
        assert 15 < len(needed) < 30
        read.clear()
        batches = stream.batches(position)
        assert next(batches).position == position
        time.sleep(0.2 if threads else 0)  # for readers to go too far
        del batches
        assert_no_workers()
        assert needed <= set(read)
        assert len(read) == len(set(read)) <= len(needed) + (largest if threads else 0)


@pytest.mark.parametrize("threads", [0, 2])
def test_a_window_is_not_held_twice(training: Training, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Once it is put together, its units are let go of."""
    stream = training(prefetch_threads=threads, **SEVERAL_WINDOWS)
    read, pieces = stream._read_units, list[weakref.ref[TrainableRows]]()

    def watched(units: Sequence[Unit]) -> TrainableRows:
        rows = read(units)
        pieces.append(weakref.ref(rows))
        return rows

    monkeypatch.setattr(stream, "_read_units", watched)
    batches = stream.batches(Position(0, 0))
    next(batches)
    deadline = time.monotonic() + 10
    while any(piece() is not None for piece in pieces):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert pieces


LONG = 100_000


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("long", [{"kind": "latest"}, {"kind": "sliding", "stride": 25}, {"kind": "chunks"}])
def test_a_very_long_history_takes_bounded_memory(tmp_path: Path, long: dict[str, Any], masked: bool) -> None:
    """Padding the others to its length would take a gigabyte."""
    store = write_store(tmp_path / "store", [9] * 700 + [LONG] + [9] * 700, per_unit=4096)
    stream = make_stream(store, masked=masked, max_length=50, long_histories=long, step_tokens=2048)
    tracemalloc.start()
    arrow = pa.total_allocated_bytes()
    targets = largest = most_arrow = 0
    for batch in stream.batches(Position(0, 0)):
        targets += batch.step_targets
        largest = max(largest, batch.inputs.numel())
        most_arrow = max(most_arrow, pa.total_allocated_bytes() - arrow)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert largest <= 4 * 2048
    assert peak < 20e6
    assert most_arrow < 20e6
    if not masked:
        assert targets == 1400 * 6 + {"latest": 50, "sliding": 3998 * 50 + 47, "chunks": LONG - 3}[long["kind"]]


def make_stream(store: SequenceStore, *, masked: bool = False, **fields: Any) -> TrainingStream:
    settings = DataSettings.model_validate({"store": str(store.path)} | fields)
    head = build_head(MaskedItemSettings(kind="masked_item") if masked else NextItemSettings())
    return TrainingStream(store, resolve(settings.split, store), settings, head, seed=1)
