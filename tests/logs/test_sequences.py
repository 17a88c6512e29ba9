from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrec.logs import ColumnSettings, LogSettings, prepare
from seqrec.logs import sequences as module
from seqrec.store import SequenceStore

from .conftest import Prepare, rows, sequences, write

T = 1_457_963_676


def test_time_orders_then_position_in_the_source(prepared: Prepare) -> None:
    lines = [f"u,late,{T + 9}", f"u,tie1,{T}", f"v,x,{T}", f"u,tie2,{T}", f"u,first,{T - 1}"]
    store = prepared("user,item,time\n" + "\n".join(lines))
    assert sequences(store) == {"u": ["first", "tie1", "tie2", "late"], "v": ["x"]}
    assert store.manifest.ties == pytest.approx(1 / 3)  # of the three pairs of neighbours of u


def test_files_in_the_order_given_break_ties(tmp_path: Path) -> None:
    for name, item in (("b.csv", "from-b"), ("a.csv.gz", "from-a")):
        write(tmp_path / name, f"user,item,time\nu,{item},{T}\n")
    for sources, expected in ((["b.csv", "a.csv.gz"], ["from-b", "from-a"]), (["*.csv*"], ["from-a", "from-b"])):
        store = prepare(LogSettings(sources=sources, root=str(tmp_path)), tmp_path / str(len(sources)))
        assert sequences(store) == {"u": expected}


def test_an_order_column_wins_and_is_numeric(prepared: Prepare) -> None:
    lines = [
        f"u,ten,{T},10",
        f"u,nine,{T + 5},9",
        f"u,big,{T},12345678901234567891",
        f"u,big0,{T},12345678901234567890",
    ]
    store = prepared("user,item,time,seq\n" + "\n".join(lines), order="seq")
    assert sequences(store) == {"u": ["nine", "ten", "big0", "big"]}
    assert next(rows(store, "timestamps"))["timestamps"][0] == (T + 5) * 1_000_000


def test_without_time_the_position_orders(prepared: Prepare) -> None:
    store = prepared("user,item\nv,b\nu,b\nv,a\n", time=None)
    assert sequences(store) == {"u": ["b"], "v": ["b", "a"]}
    assert (store.manifest.has_time, store.manifest.ties, store.manifest.time_percentiles) == (False, None, None)
    assert [row["timestamps"] for row in rows(store, "timestamps")] == [None, None]
    assert store.catalogue.table.column("first_seen").to_pylist() == [None, None]


def test_items_by_falling_count_then_id_users_by_id(prepared: Prepare) -> None:
    store = prepared("u2 b a\nu10 c a ä\nU c\n", name="log.txt")
    assert store.catalogue.item_ids == ["a", "c", "b", "ä"]
    assert store.catalogue.table.column("count").to_pylist() == [2, 2, 1, 1]
    assert store.catalogue.table.column("item").to_pylist() == [1, 2, 3, 4]
    assert list(store.user_ids()) == ["U", "u10", "u2"]


def test_types_on_disk(prepared: Prepare) -> None:
    store = prepared(f"user,item,time,os\nu,a,{T},x\n", context=["os"])
    schema = pq.read_schema(store.path / store.manifest.shards[0].file)
    assert dict(zip(schema.names, schema.types, strict=True)) == {
        "user_id": pa.string(),
        "items": pa.list_(pa.int32()),
        "timestamps": pa.list_(pa.int64()),
        "actions": pa.list_(pa.int8()),
        "values": pa.list_(pa.float32()),
        "os": pa.list_(pa.string()),
    }
    types = {field.name: field.type for field in store.catalogue.table.schema}
    assert types == {
        "item": pa.int32(), "item_id": pa.string(), "count": pa.int64(),
        "first_seen": pa.int64(), "last_seen": pa.int64(),
    }  # fmt: skip


def test_catalogue_times_and_percentiles(prepared: Prepare) -> None:
    lines = "".join(f"u{i},{'even' if i % 2 == 0 else 'odd'},{T + i}\n" for i in range(101))
    store = prepared("user,item,time\n" + lines)
    assert store.catalogue.table.select(["item_id", "first_seen", "last_seen"]).to_pylist() == [
        {"item_id": "even", "first_seen": T * 1_000_000, "last_seen": (T + 100) * 1_000_000},
        {"item_id": "odd", "first_seen": (T + 1) * 1_000_000, "last_seen": (T + 99) * 1_000_000},
    ]
    assert store.manifest.time_percentiles is not None
    assert len(store.manifest.time_percentiles) == 101
    assert store.manifest.time_percentiles[::50] == [(T + i) * 1_000_000 for i in (0, 50, 100)]


def test_units_cover_all_users_in_order(prepared: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNIT_ROWS", 3)
    store = prepared("".join(f"u{i:02d} {'x ' * (1 + i % 3)}\n" for i in range(10)), name="log.txt")
    assert [unit.rows for unit in store.units] == [3, 3, 3, 1]
    assert [len(items) for items in sequences(store).values()] == [1 + i % 3 for i in range(10)]


IDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=4)
NUMBERS = st.sampled_from(
    ["7", "007", "-1", "7.0", "1e3", "12345678901234567890", "null", "NaN", '"', "a,b", "a b", " 7"]
)


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_shuffled_rows_with_distinct_times_make_the_same_store(data: st.DataObject) -> None:
    """Ids survive exactly in every format, and neither order, format nor number of files leaves a trace."""
    ids = IDS | NUMBERS
    events = data.draw(st.lists(st.tuples(ids, ids), min_size=1, max_size=30), label="events")
    timed = [(user, item, T + i) for i, (user, item) in enumerate(events)]
    shuffled = data.draw(st.permutations(timed), label="shuffled")
    cut = data.draw(st.integers(0, len(events)), label="cut")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = _store(folder, "one", [timed], "csv")
        expected: dict[str, list[str]] = {}
        for user, item in events:
            expected.setdefault(user, []).append(item)
        assert sequences(store) == expected
        for format in ("csv", "jsonl", "parquet"):
            other = _store(folder, format, [shuffled[:cut], shuffled[cut:]], format)
            assert other.manifest.fingerprint == store.manifest.fingerprint
            assert other.manifest.counts == store.manifest.counts


def _store(folder: Path, out: str, parts: list[list[tuple[str, str, int]]], format: str) -> SequenceStore:
    for number, part in enumerate(parts):
        path = folder / f"{out}-{number}.{format}"
        table = pa.table(
            {"user": [e[0] for e in part], "item": [e[1] for e in part], "time": [e[2] for e in part]},
            schema=pa.schema([("user", pa.string()), ("item", pa.string()), ("time", pa.int64())]),
        )
        if format == "parquet":
            pq.write_table(table, path)
        elif format == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
        else:
            with path.open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerows([("user", "item", "time"), *part])
    sources = [f"{out}-{number}.{format}" for number, part in enumerate(parts) if part]
    return prepare(LogSettings(sources=sources, root=str(folder), columns=ColumnSettings()), folder / out)
