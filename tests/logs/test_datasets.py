"""Data sets of Hugging Face `datasets` as sources, and stores opened by it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import pyarrow.parquet as pq
import pytest

from seqrec.errors import ColumnError, LogError, StoreError
from seqrec.logs import LogSettings, prepare
from seqrec.logs import datasets as module
from seqrec.logs.datasets import dataset_source
from seqrec.logs.settings import DatasetSettings
from seqrec.store import SequenceStore

from .conftest import Prepare, rows, sequences, write

T = 1_600_000_000
EVENTS = [
    {"user": f"0{i % 4}", "item": f"-{i % 5}", "time": T + i // 2, "event": ["view", "buy"][i % 2], "price": i / 8}
    for i in range(40)
]
COLUMNS = {"action": "event", "value": "price"}
Load = Callable[..., SequenceStore]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """A store of one data set."""

    def make(path: str, out: str = "store", columns: dict[str, Any] = COLUMNS, **source: Any) -> SequenceStore:
        settings = {"sources": [{"kind": "hf", "path": path} | source], "root": str(tmp_path), "columns": columns}
        return prepare(LogSettings.model_validate(settings), tmp_path / out)

    return make


def csv() -> str:
    lines = [",".join(EVENTS[0]), *(",".join(map(str, event.values())) for event in EVENTS)]
    return "\n".join(lines) + "\n"


def saved(folder: Path, events: list[dict[str, Any]] = EVENTS, **features: Any) -> datasets.Dataset:
    data = datasets.Dataset.from_list(events)
    for column, feature in features.items():
        data = data.cast_column(column, feature)
    data.save_to_disk(folder)
    return data


def test_a_saved_data_set_makes_the_store_of_the_csv_file(prepared: Prepare, load: Load, tmp_path: Path) -> None:
    saved(tmp_path / "saved")
    file, data = prepared(csv(), out="file", **COLUMNS), load("saved")
    assert data.manifest.fingerprint == file.manifest.fingerprint
    assert data.manifest.sources[0].path == "saved"
    assert sequences(data)["00"][:2] == ["-0", "-4"]


@pytest.mark.parametrize("format", ["csv", "json", "parquet"])
def test_a_folder_of_files_makes_the_same_store(prepared: Prepare, load: Load, tmp_path: Path, format: str) -> None:
    (tmp_path / "folder").mkdir()
    # letters, since `datasets` takes 00 and -0 of a csv file for the number 0
    lettered = [event | {"user": f"u{event['user']}", "item": f"i{event['item']}"} for event in EVENTS]
    data = datasets.Dataset.from_list(lettered)
    for part in range(2):
        getattr(data.shard(2, part, contiguous=True), f"to_{format}")(tmp_path / f"folder/{part}.{format}")
    data.to_csv(tmp_path / "log.csv")
    file = prepared((tmp_path / "log.csv").read_text(), out="file", **COLUMNS)
    store = load("folder")
    assert store.manifest.fingerprint == file.manifest.fingerprint
    assert store.manifest.sources[0].path == "folder:train"


def test_an_equal_data_set_has_its_store_and_another_is_refused(load: Load, tmp_path: Path) -> None:
    saved(tmp_path / "saved")
    before = load("saved").manifest
    assert load("saved").manifest == before
    datasets.Dataset.from_list(EVENTS).shard(2, 0).save_to_disk(tmp_path / "other")
    with pytest.raises(StoreError, match=r"(?s)other files.*files: other, saved"):
        load("other")


def test_the_fingerprint_is_of_the_rows_not_of_their_pieces(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole")
    pieces = datasets.concatenate_datasets([whole.select(range(7)), whole.select(range(7, 40))])
    pieces.save_to_disk(tmp_path / "pieces", num_shards=3)
    one, two = (
        dataset_source(DatasetSettings(kind="hf", path=name), tmp_path).fingerprint() for name in ("whole", "pieces")
    )
    assert (one.sha256, one.size_bytes) == (two.sha256, two.size_bytes)


def test_rows_are_numbered_over_batches_and_told_where_refused(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH_ROWS", 7)
    events = [dict(event) for event in EVENTS]
    events[2]["user"], events[29]["item"] = None, ""
    datasets.DatasetDict(train=datasets.Dataset.from_list(events)).save_to_disk(tmp_path / "saved")
    store = load("saved")
    rejected = pq.read_table(store.path / "rejected.parquet").select(["file", "row", "reason"]).to_pylist()
    assert rejected == [
        {"file": "saved:train", "row": 3, "reason": "empty user"},
        {"file": "saved:train", "row": 30, "reason": "empty item"},
    ]


def test_classes_are_read_by_their_names(load: Load, tmp_path: Path) -> None:
    codes = [event | {"event": code} for event, code in zip(EVENTS, [1, 0] * 19 + [-1, 1], strict=True)]
    saved(tmp_path / "saved", codes, event=datasets.ClassLabel(names=["buy", "view"]))
    store = load("saved")
    assert store.manifest.actions == ["buy", "view"]
    assert store.manifest.rejected == {"empty action": 1}
    assert next(rows(store, "actions"))["actions"][:2] == [1, 1]


def test_times_with_a_type_are_read_as_such(load: Load, tmp_path: Path) -> None:
    saved(tmp_path / "saved", time=datasets.Value("timestamp[s]"))
    assert next(rows(load("saved"), "timestamps"))["timestamps"][0] == T * 1_000_000


def test_a_split_is_named_where_there_are_several(load: Load, tmp_path: Path) -> None:
    data = datasets.Dataset.from_list(EVENTS)
    datasets.DatasetDict(train=data.select(range(30)), test=data.select(range(30, 40))).save_to_disk(tmp_path / "saved")
    with pytest.raises(LogError, match=r"(?s)^saved: 2 splits.*has: +train, test.*set `split`"):
        load("saved")
    with pytest.raises(LogError, match=r"(?s)^saved: no split `tset`.*has: +train, test"):
        load("saved", split="tset")
    store = load("saved", split="test")
    assert store.manifest.counts.events == 10
    assert store.manifest.sources[0].path == "saved:test"


@pytest.mark.parametrize(("own", "has"), [(None, "one without a name"), ("train", "train")])
def test_a_split_is_looked_for_in_a_saved_data_set_too(load: Load, tmp_path: Path, own: Any, has: str) -> None:
    datasets.Dataset.from_list(EVENTS, split=own).save_to_disk(tmp_path / "saved")
    for split in ("test", "train[:10%]"):
        with pytest.raises(LogError, match=rf"(?s)^saved: no split `{re.escape(split)}`.*has: +{has}\n"):
            load("saved", split=split)
    store = load("saved", split=own)
    assert store.manifest.sources[0].path == ("saved:train" if own else "saved")


def test_sources_mix(tmp_path: Path) -> None:
    saved(tmp_path / "saved", EVENTS[:20])
    write(tmp_path / "log.csv", csv())
    both = LogSettings.model_validate(
        {"sources": [{"kind": "hf", "path": "saved"}, "log.csv"], "root": str(tmp_path), "columns": COLUMNS}
    )
    store = prepare(both, tmp_path / "store")
    assert store.manifest.counts.events == 60
    assert [source.path for source in store.manifest.sources] == ["saved", "log.csv"]


def test_a_missing_column_is_named_before_the_work(load: Load, tmp_path: Path) -> None:
    saved(tmp_path / "saved")
    with pytest.raises(ColumnError, match=r"(?s)saved: no column `when`.*`user`, `item`, `time`.*logs.columns.time"):
        load("saved", columns={"time": "when"})


def test_an_unknown_split_of_a_folder(load: Load, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder/a.csv", csv())
    with pytest.raises(LogError, match=r"(?s)folder: cannot be loaded \(ValueError: Unknown split \"tset\".*do:"):
        load("folder", split="tset")


def test_a_hub_out_of_reach(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(LogError, match=r"(?s)^owner/name: cannot be loaded \(\w+: .*no such folder.*the hub"):
        load("owner/name")


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_opens_a_store(prepared: Prepare, streaming: bool) -> None:
    store = prepared(csv(), **COLUMNS)
    opened = datasets.load_dataset(str(store.path), split="train", streaming=streaming)
    lists = {"items": "int32", "timestamps": "int64", "actions": "int8", "values": "float32"}
    expected = {"user_id": datasets.Value("string")} | {n: datasets.List(datasets.Value(t)) for n, t in lists.items()}
    assert opened.features == expected
    assert [row["items"] for row in opened] == [row["items"] for row in rows(store, "items")]
    items = datasets.load_dataset(str(store.path), "catalogue", split="train", streaming=streaming)
    assert [row["item_id"] for row in items] == store.catalogue.item_ids


def test_configurations_and_revisions_of_one_data_set_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list(EVENTS))
    told = [{"name": "books"}, {"name": "toys"}, {"name": "toys", "revision": "v2"}]
    sources = [DatasetSettings(kind="hf", path="shop/log", split="train", **one) for one in told]
    found = [dataset_source(source, tmp_path).name for source in sources]
    assert found == ["shop/log/books:train", "shop/log/toys:train", "shop/log/toys@v2:train"]
