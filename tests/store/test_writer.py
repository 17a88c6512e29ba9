from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqrec.errors import StoreError
from seqrec.store import Counts, SequenceStore
from seqrec.store import writer as module
from seqrec.store.writer import StoreWriter, sequence_schema

CATALOGUE = pa.table({"item": pa.array([1, 2], pa.int32()), "item_id": ["a", "b"]})


def unit(*users: str) -> pa.Table:
    rows = [{"user_id": user, "items": [1, 2]} for user in users]
    return pa.Table.from_pylist(rows, schema=sequence_schema())


def manifest(users: int) -> dict[str, Any]:
    return {
        "sources": [],
        "settings": {},
        "counts": Counts(users=users, items=2, events=2 * users, rejected=0),
        "rejected": {},
        "dropped": {},
        "has_time": False,
        "actions": [],
        "has_values": False,
        "context": [],
        "ties": None,
        "time_percentiles": None,
    }


def write(path: Path, units: Iterable[pa.Table]) -> SequenceStore:
    with StoreWriter(path) as writer:
        writer.write_catalogue(CATALOGUE)
        writer.write_units(units)
        return writer.commit(**manifest(sum(shard.rows for shard in writer.shards)))


def test_a_unit_is_a_row_group_and_shards_hold_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_UNITS", 2)
    store = write(tmp_path / "store", [unit("u", "v"), unit("w"), unit("x")])
    assert [(u.shard[-13:], u.row_group, u.first_row, u.rows) for u in store.units] == [
        ("00000.parquet", 0, 0, 2),
        ("00000.parquet", 1, 2, 1),
        ("00001.parquet", 0, 3, 1),
    ]
    assert [(shard.rows, shard.events) for shard in store.manifest.shards] == [(3, 6), (1, 2)]
    assert list(store.user_ids()) == ["u", "v", "w", "x"]
    for shard in store.manifest.shards:
        assert shard.sha256 == hashlib.sha256((store.path / shard.file).read_bytes()).hexdigest()


def test_a_full_last_shard_is_followed_by_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_UNITS", 1)
    assert len(write(tmp_path / "store", [unit("u"), unit("v")]).manifest.shards) == 2


def test_fingerprint_follows_content_alone(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [unit("u")]).manifest
    assert write(tmp_path / "b", [unit("u")]).manifest.fingerprint == first.fingerprint
    assert write(tmp_path / "c", [unit("v")]).manifest.fingerprint != first.fingerprint


def test_nothing_shows_before_the_commit_or_after_a_failure(tmp_path: Path) -> None:
    def units() -> Iterator[pa.Table]:
        yield unit("u")
        assert not (tmp_path / "store").exists()
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        write(tmp_path / "store", units())
    assert list(tmp_path.iterdir()) == []


def test_leaving_without_a_commit_writes_nothing(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store") as writer:
        writer.write_catalogue(CATALOGUE)
    assert list(tmp_path.iterdir()) == []


def test_scratch_is_gone_and_further_files_are_there(tmp_path: Path) -> None:
    reader = pa.table({"reason": ["bad time"]}).to_reader()
    with StoreWriter(tmp_path / "deep" / "store") as writer:
        (writer.scratch / "spill").touch()
        writer.write_catalogue(CATALOGUE)
        writer.write_units([unit("u")])
        writer.write_batches("rejected.parquet", reader)
        writer.write_json("audit.json", {"ü": 1})
        store = writer.commit(**manifest(1))
    assert {path.name for path in store.path.iterdir()} == {
        "README.md", "manifest.json", "catalogue.parquet", "shards", "rejected.parquet", "audit.json",
    }  # fmt: skip
    assert json.loads((store.path / "audit.json").read_text()) == {"ü": 1}
    assert pq.read_table(store.path / "rejected.parquet").to_pylist() == [{"reason": "bad time"}]
    assert store.path.stat().st_mode & 0o777 == 0o755


def test_an_occupied_destination_is_refused_at_start_and_at_commit(tmp_path: Path) -> None:
    write(tmp_path / "store", [unit("u")])
    with pytest.raises(StoreError, match=r"(?s)store: the destination exists.*--out"):
        write(tmp_path / "store", [unit("u")])
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="the destination exists"):
        write(tmp_path / "file", [unit("u")])


def test_a_destination_filled_in_the_meantime_is_left_alone(tmp_path: Path) -> None:
    def units() -> Iterator[pa.Table]:
        yield unit("u")
        write(tmp_path / "late", [unit("v")])

    with pytest.raises(StoreError, match="the destination exists"):
        write(tmp_path / "late", units())
    assert list(SequenceStore(tmp_path / "late").user_ids()) == ["v"]
