from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from seqrec.errors import StoreError
from seqrec.store import CacheSettings, Shard
from seqrec.store.cache import ShardCache


def shard(data: bytes) -> Shard:
    digest = hashlib.sha256(data).hexdigest()
    return Shard(file="shards/x.parquet", rows=1, events=1, size_bytes=len(data), sha256=digest, unit_rows=[1])


def bringing(data: bytes) -> Callable[[Path], None]:
    def download(path: Path) -> None:
        path.write_bytes(data)

    return download


def unwanted(path: Path) -> None:
    pytest.fail("downloaded again")


def make(tmp_path: Path, limit_gb: float | None = None) -> ShardCache:
    return ShardCache(CacheSettings(folder=str(tmp_path / "cache"), limit_gb=limit_gb))


def test_a_shard_is_downloaded_once(tmp_path: Path) -> None:
    cache = make(tmp_path)
    assert cache.open(shard(b"data"), bringing(b"data")).read() == b"data"
    assert cache.open(shard(b"data"), unwanted).read() == b"data"


@pytest.mark.parametrize(("data", "told"), [(b"dat", "3 of 4 bytes arrived"), (b"atad", "other bytes arrived")])
def test_what_is_not_the_shard_is_never_used(tmp_path: Path, data: bytes, told: str) -> None:
    cache = make(tmp_path)
    with pytest.raises(StoreError, match=rf"(?s)shards/x.parquet: {told}.*try again"):
        cache.open(shard(b"data"), bringing(data))
    assert not [path for path in cache.folder.iterdir() if path.suffix != ".lock"]
    assert cache.open(shard(b"data"), bringing(b"data")).read() == b"data"


def test_a_download_that_broke_off_is_begun_again(tmp_path: Path) -> None:
    def broken(path: Path) -> None:
        path.write_bytes(b"dataofanother")
        raise ConnectionError

    cache = make(tmp_path)
    with pytest.raises(ConnectionError):
        cache.open(shard(b"data"), broken)
    assert not list(cache.folder.glob("*.parquet"))
    assert cache.open(shard(b"data"), bringing(b"data")).read() == b"data"


def test_a_copy_that_was_cut_is_replaced(tmp_path: Path) -> None:
    cache = make(tmp_path)
    cache.open(shard(b"data"), bringing(b"data"))
    (copy,) = cache.folder.glob("*.parquet")
    copy.write_bytes(b"da")
    assert cache.open(shard(b"data"), bringing(b"data")).read() == b"data"


def test_others_wait_for_a_download_and_see_no_part_of_it(tmp_path: Path) -> None:
    downloads: list[Path] = []

    def slow(path: Path) -> None:
        downloads.append(path)
        path.write_bytes(b"da")
        time.sleep(0.2)
        path.write_bytes(b"data")

    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(make(tmp_path).open(shard(b"data"), slow).read()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"data"] * 4
    assert len(downloads) == 1


def test_a_copy_that_cannot_be_marked_as_used_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another user's, or one that another process deletes once it is open."""

    def refuse(path: Path) -> None:
        raise PermissionError

    cache = make(tmp_path)
    cache.open(shard(b"data"), bringing(b"data"))
    monkeypatch.setattr(os, "utime", refuse)
    assert cache.open(shard(b"data"), unwanted).read() == b"data"


def test_a_folder_that_cannot_be_written_to_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(
        StoreError, match=r"(?s)/cache: copies of shards cannot be kept here \(FileExistsError.*SEQREC_CACHE"
    ):
        make(tmp_path).open(shard(b"data"), unwanted)


def test_above_the_limit_the_longest_unused_go_and_the_newest_stays(tmp_path: Path) -> None:
    cache = make(tmp_path, limit_gb=8e-9)
    for age, data in ((30, b"aaaa"), (20, b"bbbb")):
        cache.open(shard(data), bringing(data))
        (copy,) = cache.folder.glob(f"{shard(data).sha256}.parquet")
        os.utime(copy, (time.time() - age, time.time() - age))
    reading = cache.open(shard(b"aaaa"), unwanted)  # now the newer one
    cache.open(shard(b"cccc"), bringing(b"cccc"))
    left = {path.read_bytes() for path in cache.folder.glob("*.parquet")}
    assert left == {b"aaaa", b"cccc"}
    assert cache.open(shard(b"x" * 20), bringing(b"x" * 20)).read() == b"x" * 20
    assert {path.read_bytes() for path in cache.folder.glob("*.parquet")} == {b"x" * 20}
    assert reading.read() == b"aaaa"  # deleted, but open


def test_the_folder_by_setting_then_variable_then_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("SEQREC_CACHE", raising=False)
    assert ShardCache(CacheSettings()).folder == tmp_path / "xdg" / "seqrec"
    monkeypatch.setenv("SEQREC_CACHE", str(tmp_path / "variable"))
    assert ShardCache(CacheSettings()).folder == tmp_path / "variable"
    assert make(tmp_path).folder == tmp_path / "cache"


def test_no_limit_is_null_not_zero() -> None:
    with pytest.raises(ValidationError, match="limit_gb"):
        CacheSettings(limit_gb=0)
