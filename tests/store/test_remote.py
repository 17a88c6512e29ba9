"""Stores at URLs: written, read, cached, and what goes wrong there."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from seqrec.errors import StoreError
from seqrec.store import CacheSettings, SequenceStore
from seqrec.store.split import LeaveOneOutSettings, resolve

from .rank import scan
from .remote import bucket, web_server

MakeStore = Callable[..., SequenceStore]
ITEMS = [[1, 2, 3], [2], [3, 3], [1, 2], [4, 4, 4]]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with bucket() as url:
        yield url


@pytest.fixture(params=["memory", "file", "s3"])
def parent(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place of each protocol."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{tmp_path.name}"
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"file://{tmp_path}/remote"


@pytest.fixture
def cache(tmp_path: Path) -> CacheSettings:
    return CacheSettings(folder=str(tmp_path / "cache"))


def contents(store: SequenceStore) -> list[list[int]]:
    return [
        part.tolist() for unit in store.units for part in store.read_table(unit, columns=["items"])["items"].to_numpy()
    ]


def copies(cache: CacheSettings) -> list[Path]:
    assert cache.folder is not None
    return sorted(Path(cache.folder).glob("*.parquet"))


def test_a_store_at_a_url_is_the_local_one(make_store: MakeStore, parent: str, cache: CacheSettings) -> None:
    local = make_store(ITEMS, per_unit=2)
    remote = make_store(ITEMS, per_unit=2, path=f"{parent}/store")
    assert remote.manifest == local.manifest
    for settings in (cache, None):
        opened = SequenceStore(f"{parent}/store", cache=settings)
        assert opened.units == local.units
        assert contents(opened) == ITEMS
        assert opened.catalogue.item_ids == local.catalogue.item_ids
        assert opened.histories(["u4"]) == {"u4": [4, 4, 4]}
        assert resolve(LeaveOneOutSettings(), opened).train_end(opened.read(opened.units[0])).tolist() == [1, 0]
    assert len(copies(cache)) == (0 if parent.startswith("file") else 1)


def test_a_url_without_a_store_is_refused(parent: str) -> None:
    assert not SequenceStore.exists(f"{parent}/none")
    with pytest.raises(StoreError, match=r"(?s)not a sequence store.*--out .*/none"):
        SequenceStore(f"{parent}/none")


def test_an_occupied_url_is_refused(make_store: MakeStore, parent: str) -> None:
    make_store(ITEMS, path=f"{parent}/store")
    with pytest.raises(StoreError, match="the destination exists"):
        make_store(ITEMS, path=f"{parent}/store")


def test_a_reader_sees_no_store_before_its_last_file(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"memory://{tmp_path.name}/store"
    upload, seen = MemoryFileSystem.put_file, []

    def watched(self: Any, local: str, target: str, **options: Any) -> None:
        seen.append((target.rpartition("/")[2], SequenceStore.exists(url)))
        upload(self, local, target, **options)

    monkeypatch.setattr(MemoryFileSystem, "put_file", watched)
    make_store(ITEMS, path=url)
    assert sorted(seen[:-1]) == [("README.md", False), ("catalogue.parquet", False), ("part-00000.parquet", False)]
    assert seen[-1] == ("manifest.json", False)
    assert SequenceStore.exists(url)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("full")])
def test_a_failed_upload_takes_back_what_it_wrote(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException
) -> None:
    upload = MemoryFileSystem.put_file

    def fail(self: Any, local: str, target: str, **options: Any) -> None:
        if target.endswith("manifest.json"):
            raise error
        upload(self, local, target, **options)

    monkeypatch.setattr(MemoryFileSystem, "put_file", fail)
    with pytest.raises((KeyboardInterrupt, StoreError)):
        make_store(ITEMS, path=f"memory://{tmp_path.name}/store")
    assert fsspec.filesystem("memory").find(f"/{tmp_path.name}") == []


def test_a_bucket_that_is_not_there(make_store: MakeStore, s3: str) -> None:
    with pytest.raises(StoreError, match=r"(?s)s3://no-such-bucket/store: cannot be reached \(.*bucket.*credentials"):
        make_store(ITEMS, path="s3://no-such-bucket/store")
    assert not SequenceStore.exists("s3://no-such-bucket/store")


def test_shards_that_are_missing_or_cut_are_told_at_opening(make_store: MakeStore, s3: str, tmp_path: Path) -> None:
    url, fs = f"{s3}/{tmp_path.name}/store", fsspec.filesystem("s3", skip_instance_cache=True)
    make_store(ITEMS, path=url)
    shard = f"{url}/shards/part-00000.parquet"
    fs.pipe_file(shard, fs.cat_file(shard)[:-1])
    with pytest.raises(StoreError, match="1 of 1 shards are truncated, the first shards/part-00000"):
        SequenceStore(url)
    fs.rm(shard)
    with pytest.raises(StoreError, match="1 of 1 shards are missing, the first shards/part-00000"):
        SequenceStore(url)


@pytest.mark.parametrize("lists_folders", [True, False])
def test_a_store_on_a_web_server(
    make_store: MakeStore, cache: CacheSettings, tmp_path: Path, lists_folders: bool
) -> None:
    """Which need not list folders, and then cannot tell whether shards are there before they are read."""
    local = make_store(ITEMS, per_unit=2, path=str(tmp_path / "store"))
    with web_server(tmp_path, lists_folders=lists_folders) as url:
        assert contents(SequenceStore(f"{url}/store", cache=cache)) == ITEMS
        (local.path / "shards/part-00000.parquet").unlink()
        fsspec.filesystem("http").invalidate_cache()
        if lists_folders:
            with pytest.raises(StoreError, match="1 of 1 shards are missing, the first shards/part-00000"):
                SequenceStore(f"{url}/store", cache=cache)
        else:
            assert contents(SequenceStore(f"{url}/store", cache=cache)) == ITEMS  # of the copy


def test_without_a_cache_a_unit_costs_its_own_bytes(
    make_store: MakeStore, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a shard of many units one is read: footer and the column asked for, not the file."""
    rng = np.random.default_rng(0)
    items = rng.integers(1, 5_000, (4_000, 50)).tolist()
    url = f"{s3}/{tmp_path.name}/store"
    store = make_store(items, items, per_unit=100, path=url)
    fetched: list[int] = []
    monkeypatch.setattr("s3fs.core.S3File._fetch_range", _counting(fetched))
    opened = SequenceStore(url, cache=None)
    for unit in opened.units[3:5]:
        assert opened.read(unit).items.reshape(100, 50).tolist() == items[unit.first_row :][:100]
    assert fetched
    assert sum(fetched) < store.manifest.shards[0].size_bytes / 3


def _counting(fetched: list[int]) -> Callable[..., bytes]:
    from s3fs.core import S3File

    fetch = S3File._fetch_range

    def counted(self: Any, start: int, end: int) -> bytes:
        data: bytes = fetch(self, start, end)
        fetched.append(len(data))
        return data

    return counted


def test_processes_that_open_a_store_at_once_share_its_copies(
    make_store: MakeStore, s3: str, tmp_path: Path, cache: CacheSettings
) -> None:
    url = f"{s3}/{tmp_path.name}/store"
    make_store(ITEMS, per_unit=2, path=url)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    ranks = [context.Process(target=scan, args=(url, cache.folder, barrier, results)) for _ in range(2)]
    for rank in ranks:
        rank.start()
    units = [[1, 2, 3, 2], [3, 3, 1, 2], [4, 4, 4]]
    assert [results.get(timeout=60) for _ in ranks] == [units] * 2
    for rank in ranks:
        rank.join()
    assert len(copies(cache)) == 1
    assert not list(Path(str(cache.folder)).glob("*.partial"))


def test_a_cached_store_needs_its_shards_no_more(make_store: MakeStore, cache: CacheSettings, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/store"
    make_store(ITEMS, path=url)
    store = SequenceStore(url, cache=cache)
    assert contents(store) == ITEMS
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}/store/shards", recursive=True)
    assert contents(store) == ITEMS
    shutil.rmtree(str(cache.folder))
    with pytest.raises(StoreError, match=r"cannot be reached \(FileNotFoundError"):
        contents(store)


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_opens_the_shards_at_a_url(
    make_store: MakeStore, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    url = f"{s3}/{tmp_path.name}/store"
    make_store(ITEMS, per_unit=2, path=url)
    opened = datasets.load_dataset("parquet", data_files=f"{url}/shards/*.parquet", split="train", streaming=streaming)
    assert [row["items"] for row in opened] == ITEMS
