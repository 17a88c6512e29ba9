from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from seqrec.logs import ColumnSettings, LogSettings, prepare
from seqrec.store import SequenceStore

Prepare = Callable[..., SequenceStore]


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEQREC_DATA", raising=False)


def write(path: Path, content: str | bytes) -> Path:
    """Writes a file, compressed as its suffix says."""
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes({".gz": gzip.compress, ".zst": zstandard.compress}.get(path.suffix, bytes)(data))
    return path


def sequences(store: SequenceStore) -> dict[str, list[str]]:
    """user_id → item_ids."""
    rows = (row for unit in store.units for row in store.read_table(unit, columns=["user_id", "items"]).to_pylist())
    return {row["user_id"]: store.catalogue.decode(row["items"]) for row in rows}


def rows(store: SequenceStore, *columns: str) -> Iterator[dict[str, Any]]:
    for unit in store.units:
        yield from store.read_table(unit, columns=["user_id", *columns]).to_pylist()


def audit(store: SequenceStore) -> dict[str, Any]:
    return json.loads((store.path / "audit.json").read_text())


@pytest.fixture
def prepared(tmp_path: Path) -> Prepare:
    """Prepares the content of one file, by default csv; keywords are columns or log settings."""

    def make(content: str | bytes, name: str = "log.csv", out: str = "store", **settings: Any) -> SequenceStore:
        write(tmp_path / name, content)
        roles = {key: settings.pop(key) for key in list(settings) if key in ColumnSettings.model_fields}
        return prepare(LogSettings(sources=[name], root=str(tmp_path), columns=roles, **settings), tmp_path / out)

    return make
