from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqrec.errors import StoreError, UnknownIdError
from seqrec.store import SequenceStore, Unit
from seqrec.store.sequences import from_table
from seqrec.store.writer import sequence_schema

MakeStore = Callable[..., SequenceStore]
ITEMS = [[1, 2, 3], [2], [3, 3], [1, 2]]
TIMES = [[10, 20, 30], [5], [7, 7], [1, 9]]
ACTIONS = [[0, 1, 0], [1], [0, 0], [1, 1]]


@pytest.fixture(scope="module")
def store(make_store: MakeStore) -> SequenceStore:
    return make_store(ITEMS, TIMES, ACTIONS, action_names=["view", "buy"], percentiles=[0] * 101, per_unit=3)


def test_units_are_row_groups_in_row_order(store: SequenceStore) -> None:
    assert store.units == [Unit("shards/part-00000.parquet", 0, 0, 3), Unit("shards/part-00000.parquet", 1, 3, 1)]


def test_a_unit_reads_as_flat_columns(store: SequenceStore) -> None:
    sequences = store.read(store.units[0], columns=("items", "timestamps", "actions"))
    assert len(sequences) == 3
    assert sequences.rows.tolist() == [0, 1, 2]
    assert sequences.offsets.tolist() == [0, 3, 4, 6]
    assert sequences.lengths.tolist() == [3, 1, 2]
    assert sequences.items.tolist() == [1, 2, 3, 2, 3, 3]
    assert sequences.timestamps is not None
    assert sequences.timestamps.tolist() == [10, 20, 30, 5, 7, 7]
    assert sequences.actions is not None
    assert sequences.actions.tolist() == [0, 1, 0, 1, 0, 0]
    assert sequences.row_of_event().tolist() == [0, 0, 0, 1, 2, 2]
    assert (sequences.items.dtype, sequences.timestamps.dtype) == (np.int32, np.int64)


def test_a_scan_covers_every_row_once_and_reads_only_what_is_asked(store: SequenceStore) -> None:
    parts = list(store.scan())
    assert np.concatenate([part.rows for part in parts]).tolist() == [0, 1, 2, 3]
    assert np.concatenate([part.items for part in parts]).tolist() == [item for row in ITEMS for item in row]
    assert parts[0].timestamps is None
    assert list(store.user_ids()) == ["u0", "u1", "u2", "u3"]


def test_columns_that_the_log_did_not_have_are_none(make_store: MakeStore) -> None:
    store = make_store([[1, 2]])
    sequences = store.read(store.units[0], columns=("items", "timestamps", "actions"))
    assert sequences.timestamps is None
    assert sequences.actions is None


def test_a_slice_of_a_table_reads_as_itself() -> None:
    table = pa.Table.from_pylist([{"user_id": "u", "items": row} for row in ITEMS], sequence_schema()).slice(1, 2)
    sequences = from_table(table, np.array([11, 12]))
    assert sequences.rows.tolist() == [11, 12]
    assert sequences.offsets.tolist() == [0, 1, 3]
    assert sequences.items.tolist() == [2, 3, 3]


def test_units_of_a_shard_are_read_together(make_store: MakeStore) -> None:
    store = make_store(ITEMS, per_unit=1)
    together = store.read(store.units[3], store.units[1])
    assert together.rows.tolist() == [3, 1]
    assert together.offsets.tolist() == [0, len(ITEMS[3]), len(ITEMS[3]) + len(ITEMS[1])]
    assert together.items.tolist() == [*ITEMS[3], *ITEMS[1]]


def test_histories_come_in_the_order_asked_for(store: SequenceStore) -> None:
    assert list(store.histories(["u3", "u0", "u3"]).items()) == [("u3", [1, 2]), ("u0", [1, 2, 3])]
    with pytest.raises(UnknownIdError, match=r"(?s)2 of 3 users .* 'nobody'.*--history"):
        store.histories(["nobody", "u0", "none"])


def test_an_empty_shard_is_skipped(make_store: MakeStore) -> None:
    store = make_store(ITEMS, per_unit=2)
    manifest = json.loads((store.path / "manifest.json").read_text())
    empty = {"file": "shards/empty.parquet", "rows": 0, "events": 0, "sha256": ""}
    manifest["shards"].insert(0, empty)
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    (store.path / "shards/empty.parquet").touch()
    assert [unit.first_row for unit in SequenceStore(store.path).units] == [0, 2]


def test_what_is_no_store_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"(?s)not a sequence store\n.*manifest\.json.*seqrec prepare LOG --out"):
        SequenceStore(tmp_path)
    with pytest.raises(StoreError, match=r"not a sequence store \(no such folder\)"):
        SequenceStore(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format_version": 2}', '{"format_version": 1}'])
def test_an_unreadable_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=r"(?s)unreadable manifest.*prepare the store again"):
        SequenceStore(tmp_path)


def test_another_format_version_and_missing_shards_are_refused(make_store: MakeStore) -> None:
    store = make_store(ITEMS)
    (store.path / "shards/part-00000.parquet").rename(store.path / "elsewhere")
    with pytest.raises(StoreError, match=r"1 of 1 shards are missing, the first shards/part-00000\.parquet"):
        SequenceStore(store.path)
    manifest = json.loads((store.path / "manifest.json").read_text()) | {"format_version": 99}
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="format version 99, this seqrec reads 1 to 2"):
        SequenceStore(store.path)


@pytest.mark.parametrize("bad", [9, 0, -1])
def test_a_row_with_an_item_outside_the_catalogue_is_named(make_store: MakeStore, bad: int) -> None:
    store = make_store(ITEMS, per_unit=2)
    shard = store.path / "shards/part-00000.parquet"
    table = pq.read_table(shard)
    changed = pa.array([*ITEMS[:2], [3, bad], ITEMS[3]], table.schema.field("items").type)
    table = table.set_column(table.schema.get_field_index("items"), table.schema.field("items"), changed)
    pq.write_table(table, shard, row_group_size=2)
    assert len(store.read(store.units[0])) == 2
    with pytest.raises(
        StoreError, match=rf"(?s)part-00000\.parquet: row 2 of the store holds item {bad},.*event: 1 of"
    ):
        store.read(store.units[1])


def test_a_damaged_shard_is_named_with_its_rows(make_store: MakeStore) -> None:
    store = make_store(ITEMS, per_unit=2)
    shard = store.path / "shards/part-00000.parquet"
    damaged = bytearray(shard.read_bytes())
    footer = len(damaged) - 8 - int.from_bytes(damaged[-8:-4], "little")
    damaged[4:footer] = bytes(footer - 4)
    shard.write_bytes(damaged)
    with pytest.raises(
        StoreError, match=r"(?s)part-00000\.parquet: cannot read rows 0 to 1 of the store.*copy the store"
    ):
        store.read(store.units[0])
