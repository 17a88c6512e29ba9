"""Stores of a few users, written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest

from seqrec.store import Counts, SequenceStore
from seqrec.store.writer import StoreWriter, sequence_schema

MakeStore = Callable[..., SequenceStore]


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> MakeStore:
    """Writes a store of users u0, u1, … and items i1, i2, …"""

    def make(
        items: Sequence[Sequence[int]],
        times: Sequence[Sequence[int]] | None = None,
        actions: Sequence[Sequence[int]] | None = None,
        *,
        action_names: Sequence[str] = (),
        percentiles: Sequence[int] | None = None,
        per_unit: int = 4096,
        path: str | None = None,
    ) -> SequenceStore:
        rows = [
            {"user_id": f"u{i}", "items": row, "timestamps": times and times[i], "actions": actions and actions[i]}
            for i, row in enumerate(items)
        ]
        n_items = max(item for row in items for item in row)
        item_ids = [f"i{item}" for item in range(1, n_items + 1)]
        catalogue = pa.table({"item": pa.array(range(1, n_items + 1), pa.int32()), "item_id": item_ids})
        schema = sequence_schema()
        units = (
            pa.Table.from_pylist(rows[first : first + per_unit], schema) for first in range(0, len(rows), per_unit)
        )
        with StoreWriter(path or tmp_path_factory.mktemp("store") / "store") as writer:
            writer.write_catalogue(catalogue)
            writer.write_units(units)
            return writer.commit(
                sources=[],
                settings={},
                counts=Counts(users=len(rows), items=n_items, events=sum(map(len, items)), rejected=0),
                rejected={},
                dropped={},
                has_time=times is not None,
                actions=list(action_names),
                has_values=False,
                context=[],
                ties=None if times is None else 0.0,
                time_percentiles=percentiles,
            )

    return make
