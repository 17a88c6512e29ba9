"""Copies of a remote store's shards on this machine's disk, shared by all of its processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from filelock import FileLock
from platformdirs import user_cache_path
from pydantic import Field

from seqrec.errors import StoreError
from seqrec.settings import Settings
from seqrec.store.manifest import Shard, file_sha256


class CacheSettings(Settings):
    """Local copies of the shards of a store that lies at a URL; a local store is read where it is."""

    folder: str | None = Field(
        default=None,
        description="Folder of the copies, on a local disk; default $SEQREC_CACHE, else seqrec's folder in the user's "
        "cache directory.",
    )
    limit_gb: float | None = Field(
        default=None,
        gt=0,
        description="Size in 10^9 bytes, over all stores, above which the copies that were not used for longest are "
        "deleted; null for no limit.",
    )


class ShardCache:
    """Whole shards under the SHA-256 of their bytes, so that stores with a shard in common share its copy.

    Any number of processes and threads of one machine may use a folder at once: one downloads a shard, others wait for
    it. A copy gets its name only when size and hash are right, so that part of one is never read. fsspec's own caches
    write into the file that others already look for, and know no limit.

    Args:
        settings: folder and limit.
    """

    def __init__(self, settings: CacheSettings):
        folder = settings.folder or os.environ.get("SEQREC_CACHE")
        self.folder = Path(folder).expanduser() if folder else user_cache_path("seqrec")
        self._limit = settings.limit_gb and settings.limit_gb * 1e9

    def open(self, shard: Shard, download: Callable[[Path], None]) -> pa.NativeFile:
        """Opens the copy of a shard, made first where there is none.

        Once open it can be read to its end, even where its file is deleted to keep the limit.

        Args:
            shard: which, as the manifest has it.
            download: writes the shard to the path given.
        Raises:
            StoreError: what was downloaded is not what the manifest says, or the folder cannot be written to.
        """
        copy = self.folder / f"{shard.sha256}.parquet"
        if file := _open_whole(copy, shard):
            return file
        with self._lock(shard):
            if file := _open_whole(copy, shard):
                return file
            part = copy.with_suffix(".partial")  # of a download that was killed, too: the lock makes it ours
            download(part)
            _verify(part, shard)
            file = pa.OSFile(str(part))
            part.replace(copy)
        self._evict(keep=copy)
        return file

    def _lock(self, shard: Shard) -> contextlib.AbstractContextManager[object]:
        """Held until its context is left."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # few locks for many shards: lock files cannot be deleted safely, so that one a shard would pile up
            return FileLock(self.folder / f"{shard.sha256[:2]}.lock").acquire()
        except OSError as error:  # of this machine, not of the place that the store lies at
            raise StoreError(
                f"copies of shards cannot be kept here ({type(error).__name__}: {error.strerror})",
                where=str(self.folder),
                do="set `data.cache.folder` or SEQREC_CACHE to a folder that can be written to, or `data.cache: null`",
            ) from error

    def _evict(self, keep: Path) -> None:
        if self._limit is None:
            return
        copies = []
        for path in self.folder.glob("*.parquet"):
            try:
                copies.append((path.stat(), path))
            except FileNotFoundError:
                continue  # another process deleted it
        copies.sort(key=lambda copy: copy[0].st_mtime_ns)
        size = sum(stat.st_size for stat, _ in copies)
        for stat, path in copies:
            if size <= self._limit:
                break
            if path != keep:
                path.unlink(missing_ok=True)
                size -= stat.st_size


def _open_whole(path: Path, shard: Shard) -> pa.NativeFile | None:
    try:
        file = pa.OSFile(str(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    with contextlib.suppress(OSError):  # another process has deleted it, or it belongs to another user
        os.utime(path)  # by which the oldest is told
    return file if file.size() == shard.size_bytes else None  # a disk that was full or failed


def _verify(path: Path, shard: Shard) -> None:
    size = path.stat().st_size
    if size != shard.size_bytes:
        what = f"{size:,} of {shard.size_bytes:,} bytes arrived"
    elif file_sha256(path) != shard.sha256:
        what = "other bytes arrived than the manifest says"
    else:
        return
    path.unlink()
    raise StoreError(
        what,
        where=shard.file,
        do="try again; if it stays so, the shard was changed after the store was written: copy or prepare it again",
    )
