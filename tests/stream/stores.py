"""Stores of any shape, whose items tell where in its history an event stands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seqrec.store import Counts, SequenceStore
from seqrec.store.writer import StoreWriter, sequence_schema


def write_store(path: Path, lengths: Sequence[int], *, per_unit: int, empty_shards: bool = False) -> SequenceStore:
    """A store of so many users, the items of each 1, 2, 3, ….

    Args:
        path: where, a folder that does not exist.
        lengths: events of each user.
        per_unit: users a unit.
        empty_shards: add one before the shards and one behind them.
    """
    n_items = max(lengths)
    schema = sequence_schema()
    with StoreWriter(path) as writer:
        item_ids = [f"i{item}" for item in range(1, n_items + 1)]
        writer.write_catalogue(pa.table({"item": pa.array(range(1, n_items + 1), pa.int32()), "item_id": item_ids}))
        writer.write_units(
            pa.table(
                {
                    "user_id": [f"u{row}" for row in range(first, first + len(some))],
                    "items": pa.array([np.arange(1, length + 1) for length in some], pa.list_(pa.int32())),
                }
                | {name: pa.nulls(len(some), schema.field(name).type) for name in ("timestamps", "actions", "values")},
                schema=schema,
            )
            for first in range(0, len(lengths), per_unit)
            if (some := lengths[first : first + per_unit])
        )
        store = writer.commit(
            sources=[],
            settings={},
            counts=Counts(users=len(lengths), items=n_items, events=sum(lengths), rejected=0),
            rejected={},
            dropped={},
            has_time=False,
            actions=[],
            has_values=False,
            context=[],
            ties=None,
            time_percentiles=None,
        )
    return _with_empty_shards(store) if empty_shards else store


def _with_empty_shards(store: SequenceStore) -> SequenceStore:
    """As other tools may write them, with no row group or with one of no rows."""
    manifest = store.path / "manifest.json"
    content = json.loads(manifest.read_text())
    shards = []
    for name in ("shards/empty-0.parquet", "shards/empty-1.parquet"):
        pq.write_table(sequence_schema().empty_table(), store.path / name)
        shards.append({"file": name, "rows": 0, "events": 0, "sha256": ""})
    content["shards"] = [shards[0], *content["shards"], shards[1]]
    manifest.write_text(json.dumps(content))
    return SequenceStore(store.path)
