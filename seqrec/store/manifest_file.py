"""Reading `manifest.json`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from pydantic import ValidationError

from seqrec.errors import StoreError
from seqrec.store.location import reaching
from seqrec.store.manifest import FORMAT_VERSION, MANIFEST, Manifest

if TYPE_CHECKING:
    from upath import UPath

_COMPLETE = {"size_bytes", "unit_rows"}


def holds_manifest(path: Path | UPath) -> bool:
    """Whether a manifest lies in a folder.

    Raises:
        StoreError: the place cannot be reached.
    """
    file = path / MANIFEST
    if isinstance(file, Path):
        return file.is_file()
    file.fs.invalidate_cache()  # another process may have written it since this one looked
    with reaching(path):  # not is_file(), which takes a refused connection for a missing file
        try:
            return file.fs.info(file.path)["type"] == "file"  # type: ignore[no-any-return]
        except FileNotFoundError:
            return False


def read_manifest(path: Path | UPath) -> Manifest:
    """The manifest in a folder.

    Raises:
        StoreError: there is none, it is of a version that this seqrec does not read, or it cannot be reached.
    """
    file = path / MANIFEST
    with reaching(path):
        try:
            text = file.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreError(
                "not a sequence store" + ("" if path.is_dir() else " (no such folder)"),
                where=str(path),
                expected="a folder with manifest.json, catalogue.parquet and shards/",
                do=f"make one with `seqrec prepare LOG --out {path}`",
            ) from error
    try:
        raw = json.loads(text)
        version = raw["format_version"]
        if version not in (1, FORMAT_VERSION):
            raise StoreError(
                f"format version {version}, this seqrec reads 1 to {FORMAT_VERSION}",
                where=str(file),
                do="prepare the store again, or use the seqrec that wrote it",
            )
        shards = [shard if shard.keys() >= _COMPLETE else shard | _measured(path, shard) for shard in raw["shards"]]
        return Manifest.model_validate(raw | {"shards": shards})
    except (json.JSONDecodeError, ValidationError, KeyError, TypeError) as error:
        raise StoreError(f"unreadable manifest ({error})", where=str(file), do="prepare the store again") from error


def _measured(path: Path | UPath, shard: dict[str, Any]) -> dict[str, Any]:
    """What version 1 does not tell of a shard, from its file."""
    file = path / shard["file"]
    size, unit_rows = 0, []
    if file.is_file():  # a missing one is told of with the others
        with reaching(path), file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            if shard["rows"]:
                footer = pq.read_metadata(stream)
                unit_rows = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    return {"size_bytes": size, "unit_rows": unit_rows}
