"""From shards to padded tensors: an epoch of `TrainingStream` beside plain readings of the same shards.

    python benchmarks/loader.py [--users 1000000] [--rounds 4]

On a made-up store with log-normal lengths (mean 10.5), kept in a temporary folder. All in one process on all cores,
taken in turns, best of all rounds; writes benchmarks/results/loader.json. The peers:

- pyarrow: every row group's `items` column, threads on, each value touched. No shuffle, no batches, no tensors;
- datasets, rows: `load_dataset(streaming=True)`, a shuffle buffer of 10,000, numpy format, each row cut to its latest
  events and padded to 50, 256 of them stacked to a tensor. On as many rows as `--peer-rows` says, since it is slow and
  its rate does not depend on their number; the time to fill the buffer is left out;
- datasets, batches: its Arrow batches of 1,000 rows, each value touched. No shuffle, no padding, no tensors.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from harness import write_result

from seqrec.models import NextItemSettings, build_head
from seqrec.store import UNIT_ROWS, Counts, SequenceStore
from seqrec.store.split import LeaveOneOutSettings, resolve
from seqrec.store.writer import StoreWriter, sequence_schema
from seqrec.stream import DataSettings, Position, TrainingStream

MAX_LENGTH = 50
N_ITEMS = 200_000
Read = tuple[int, int]  # rows, events
Timed = tuple[int, int, float, float]  # and seconds, by the clock and of all cores together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000, help="users of the store")
    parser.add_argument("--peer-rows", type=int, default=5_000, help="rows that the row-by-row peer takes")
    parser.add_argument("--rounds", type=int, default=4, help="times that each is run; the best counts")
    parser.add_argument("--step-tokens", type=int, default=16_384, help="`data.step_tokens`")
    chosen = parser.parse_args()
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "store", chosen.users)
        figures = measure(store, chosen.rounds, chosen.peer_rows, chosen.step_tokens)
    print(json.dumps(figures, indent=2))
    print(write_result("loader", {"settings": vars(chosen)} | figures))


def measure(store: SequenceStore, rounds: int, peer_rows: int, step_tokens: int) -> dict[str, Any]:
    """The best round of each contender, and how the stream compares."""
    files = [str(store.path / shard.file) for shard in store.manifest.shards]
    settings = DataSettings(store=str(store.path), max_length=MAX_LENGTH, step_tokens=step_tokens)
    split = resolve(LeaveOneOutSettings(), store)
    start = time.perf_counter()
    stream = TrainingStream(store, split, settings, build_head(NextItemSettings()), seed=1)
    counting = time.perf_counter() - start
    contenders: dict[str, Callable[[], Timed]] = {
        "seqrec": lambda: timed(seqrec_epoch, stream),
        "pyarrow": lambda: timed(pyarrow_row_groups, files),
        "datasets_rows": lambda: timed(datasets_rows, full_buffer(files), peer_rows),
        "datasets_batches": lambda: timed(datasets_batches, files),
    }
    taken: dict[str, list[Timed]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            taken[name].append(run())
    rates = {name: summary(runs) for name, runs in taken.items()}
    rows = {name: rate["rows_per_s"] for name, rate in rates.items()}
    return {
        "store": {"users": store.manifest.counts.users, "events": store.manifest.counts.events, "shards": len(files)},
        "counting_seconds": round(counting, 3),
        "steps": stream.n_steps,
        "rates": rates,
        "rows_per_s_as_a_multiple_of": {
            name: round(rows["seqrec"] / rows[name], 2) for name in rows if name != "seqrec"
        },
    }


def summary(runs: list[Timed]) -> dict[str, Any]:
    """Rates of the fastest run, and the times of all."""
    rows, events, seconds, _ = min(runs, key=lambda run: run[2])
    return {
        "rows": rows,
        "rows_per_s": round(rows / seconds),
        "events_per_s": round(events / seconds),
        "seconds": [round(run[2], 3) for run in runs],
        "processor_seconds": [round(run[3], 3) for run in runs],
    }


def timed(read: Callable[..., Read], *arguments: Any) -> Timed:
    """Runs it."""
    start, processor_start = time.perf_counter(), time.process_time()
    rows, events = read(*arguments)
    return rows, events, time.perf_counter() - start, time.process_time() - processor_start


def seqrec_epoch(stream: TrainingStream) -> Read:
    """A whole epoch of training batches, shuffled, of like length, as int64 tensors."""
    rows = tokens = 0
    for batch in stream.batches(Position(0, 0)):
        rows += len(batch.rows)
        tokens += batch.step_tokens
    return rows, tokens


def pyarrow_row_groups(files: list[str]) -> Read:
    """Every row group's `items`, each value touched."""
    rows = events = 0
    for name in files:
        with pq.ParquetFile(name) as file:
            for group in range(file.num_row_groups):
                rows, events = touch(file.read_row_group(group, columns=["items"], use_threads=True), rows, events)
    return rows, events


def datasets_batches(files: list[str]) -> Read:
    """Arrow batches of a streamed dataset, each value touched."""
    rows = events = 0
    stream = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True, columns=["items"])
    for table in stream.with_format("arrow").iter(batch_size=1000):
        rows, events = touch(table, rows, events)
    return rows, events


def touch(table: pa.Table, rows: int, events: int) -> tuple[int, int]:
    """The counts with those of a table added, whose every value has been read."""
    for chunk in table.column("items").chunks:
        items = chunk.flatten().to_numpy()
        items.sum()
        events += len(items)
    return rows + table.num_rows, events


def full_buffer(files: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of a streamed dataset, shuffled, once the buffer has been filled."""
    stream = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True, columns=["items"])
    examples = iter(stream.shuffle(seed=1, buffer_size=10_000).with_format("numpy"))
    next(examples)
    return examples


def datasets_rows(examples: Iterator[dict[str, Any]], n_rows: int) -> Read:
    """Rows padded one by one: what people write."""
    return n_rows, sum(int((batch != 0).sum()) for batch in padded(examples, n_rows))


def padded(examples: Iterator[dict[str, Any]], n_rows: int) -> Iterator[torch.Tensor]:
    """Batches of 256 rows, zeros behind the latest events of each."""
    batch: list[np.ndarray] = []
    for taken, example in enumerate(examples, start=1):
        latest = example["items"][-MAX_LENGTH:]
        batch.append(np.pad(latest, (0, MAX_LENGTH - len(latest))))
        if len(batch) == 256 or taken == n_rows:
            yield torch.from_numpy(np.stack(batch)).long()
            batch = []
        if taken == n_rows:
            return


def write_store(path: Path, users: int) -> SequenceStore:
    """A made-up store: log-normal lengths of mean 10.5, from 4 so that each user is trained on; skewed items; times."""
    draws = np.random.default_rng(0)
    lengths = np.clip(np.exp(draws.normal(1.83, 0.85, users)).astype(np.int64) + 2, 4, 2000)
    schema = sequence_schema()

    def unit(first: int) -> pa.Table:
        some = lengths[first : first + UNIT_ROWS]
        n_events = int(some.sum())
        offsets = pa.array(np.concatenate([[0], np.cumsum(some)]).astype(np.int32))
        items = (N_ITEMS * draws.random(n_events) ** 2.5).astype(np.int32) + 1
        times = 1_500_000_000_000_000 + np.cumsum(draws.exponential(3.6e9, n_events).astype(np.int64))
        columns = {
            "user_id": pa.array([f"u{row}" for row in range(first, first + len(some))]),
            "items": pa.ListArray.from_arrays(offsets, pa.array(items)),
            "timestamps": pa.ListArray.from_arrays(offsets, pa.array(times)),
        } | {name: pa.nulls(len(some), schema.field(name).type) for name in ("actions", "values")}
        return pa.table(columns, schema=schema)

    with StoreWriter(path) as writer:
        item_ids = [f"i{item}" for item in range(1, N_ITEMS + 1)]
        writer.write_catalogue(pa.table({"item": pa.array(range(1, N_ITEMS + 1), pa.int32()), "item_id": item_ids}))
        writer.write_units(unit(first) for first in range(0, users, UNIT_ROWS))
        return writer.commit(
            sources=[],
            settings={},
            counts=Counts(users=users, items=N_ITEMS, events=int(lengths.sum()), rejected=0),
            rejected={},
            dropped={},
            has_time=True,
            actions=[],
            has_values=False,
            context=[],
            ties=0.0,
            time_percentiles=None,
        )


if __name__ == "__main__":
    main()
