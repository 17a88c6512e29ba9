"""How a shard's layout decides its size and the time to read it: row groups, compression, encodings.

    python benchmarks/shards.py

Raw pyarrow, one thread, CPU seconds, the best of alternated rounds, over one full shard of made-up sequences: 9 events
on average, items by popularity, times in whole seconds. Writes benchmarks/results/shards.json; `seqrec` is the layout
of a store.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import write_result

from seqrec.store.manifest import UNIT_ROWS
from seqrec.store.writer import SHARD_UNITS, sequence_schema, shard_format

USERS, ITEMS, ROUNDS = SHARD_UNITS * UNIT_ROWS, 100_000, 7
COLUMNS = {"items": ["items"], "items_times_actions": ["items", "timestamps", "actions"]}
Layout = dict[str, Any]


def main() -> None:
    pa.set_cpu_count(1)
    table = sequences()
    with tempfile.TemporaryDirectory() as name:
        files = {}
        for layout, settings in layouts().items():
            files[layout] = Path(name) / f"{len(files)}.parquet"
            pq.write_table(table, files[layout], **settings)
        seconds: dict[tuple[str, str, bool], float] = {}
        for _ in range(ROUNDS):
            for layout, file in files.items():
                for key, columns, footer in [
                    (key, columns, f) for key, columns in COLUMNS.items() for f in (False, True)
                ]:
                    taken = read(file, columns, footer)
                    seconds[layout, key, footer] = min(seconds.get((layout, key, footer), taken), taken)
        figures = {
            layout: {"megabytes": round(file.stat().st_size / 1e6, 1)}
            | {
                f"{columns}{'_footer_kept' if footer else ''}": round(USERS / seconds[layout, columns, footer] / 1e6, 2)
                for columns in COLUMNS
                for footer in (False, True)
            }
            for layout, file in files.items()
        }
    write_result("shards", {"users": USERS, "unit": "million users a CPU second", "layouts": figures})


def layouts() -> dict[str, Layout]:
    """What is compared: arguments of pyarrow's writer."""
    split = dict.fromkeys(("items.list.element", "timestamps.list.element"), "BYTE_STREAM_SPLIT")
    found: dict[str, Layout] = {}
    for rows in (UNIT_ROWS, 16_384, 65_536):
        for compression in ("zstd", "snappy", "lz4", "none"):
            found[f"{rows} rows, {compression}, dictionary"] = {"row_group_size": rows, "compression": compression}
    for compression in ("zstd", "lz4"):
        one = {"row_group_size": UNIT_ROWS, "compression": compression}
        found[f"{UNIT_ROWS} rows, {compression}, plain"] = one | {"use_dictionary": False}
        found[f"{UNIT_ROWS} rows, {compression}, byte stream split"] = one | {
            "use_dictionary": ["actions.list.element"],
            "column_encoding": split,
        }
        found[f"{UNIT_ROWS} rows, {compression}, delta"] = (
            one | shard_format(sequence_schema()) | {"compression": compression, "write_statistics": True}
        )
    return found | {"seqrec": {"row_group_size": UNIT_ROWS} | shard_format(sequence_schema())}


def sequences() -> pa.Table:
    """A table of `sequence_schema()`."""
    rng = np.random.default_rng(0)
    lengths = np.minimum(1 + rng.geometric(1 / 8, USERS), 200)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    events = int(offsets[-1])
    weights = np.cumsum(1 / np.arange(1, ITEMS + 1) ** 0.9)
    items = np.minimum(np.searchsorted(weights / weights[-1], rng.random(events)) + 1, ITEMS).astype(np.int32)
    clock = np.cumsum(rng.exponential(6 * 3600, events).astype(np.int64))
    first = rng.integers(0, 300 * 86_400, USERS) - clock[offsets[:-1]]
    times = (1_600_000_000 + clock + np.repeat(first, lengths)) * 1_000_000
    return pa.table(
        {
            "user_id": [f"user-{row:08d}" for row in range(USERS)],
            "items": pa.ListArray.from_arrays(offsets, items),
            "timestamps": pa.ListArray.from_arrays(offsets, times),
            "actions": pa.ListArray.from_arrays(offsets, (rng.random(events) < 0.1).astype(np.int8)),
            "values": pa.nulls(USERS, pa.list_(pa.float32())),
        },
        schema=sequence_schema(),
    )


def read(file: Path, columns: list[str], keep_footer: bool) -> float:
    """CPU seconds to read a file a row group at a time, opened for each as a stream of shuffled units does."""
    started = time.process_time()
    footer = pq.read_metadata(file)
    for group in range(footer.num_row_groups):
        with pq.ParquetFile(file, metadata=footer if keep_footer else None) as opened:
            opened.read_row_group(group, columns=columns, use_threads=False)
    return time.process_time() - started


if __name__ == "__main__":
    main()
