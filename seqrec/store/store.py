"""Reading a sequence store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from seqrec.errors import StoreError, UnknownIdError
from seqrec.store.catalogue import Catalogue
from seqrec.store.manifest import FORMAT_VERSION, Manifest
from seqrec.store.sequences import Sequences, from_table


@dataclass(frozen=True)
class Unit:
    """Consecutive rows that are read together: one row group of one shard."""

    shard: str
    row_group: int
    first_row: int
    rows: int


class SequenceStore:
    """A store on disk, opened for reading.

    Args:
        path: the store's folder.
    Raises:
        StoreError: the folder is not a sequence store, is of another format version, or lacks a file.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.manifest = _read_manifest(self.path)
        missing = [s.file for s in self.manifest.shards if not (self.path / s.file).is_file()]
        if missing:
            raise StoreError(
                f"{len(missing)} of {len(self.manifest.shards)} shards are missing, the first {missing[0]}",
                where=str(self.path),
                do="prepare the store again",
            )

    @cached_property
    def catalogue(self) -> Catalogue:
        """All items, read once."""
        return Catalogue.read(self.path / "catalogue.parquet")

    @cached_property
    def units(self) -> list[Unit]:
        """Every non-empty row group, in row order."""
        units, first_row = [], 0
        for shard in self.manifest.shards:
            if shard.rows == 0:
                continue
            metadata = pq.read_metadata(self.path / shard.file)
            for group in range(metadata.num_row_groups):
                rows = metadata.row_group(group).num_rows
                if rows:
                    units.append(Unit(shard.file, group, first_row, rows))
                first_row += rows
        return units

    def read(self, unit: Unit, columns: Sequence[str] = ("items",)) -> Sequences:
        """The sequences of one unit; ``columns`` among `items`, `timestamps`, `actions`."""
        return from_table(self.read_table(unit, columns), unit.first_row)

    def read_table(self, unit: Unit, columns: Sequence[str]) -> pa.Table:
        """The named columns of one unit as an Arrow table."""
        with pq.ParquetFile(self.path / unit.shard) as file:
            return file.read_row_group(unit.row_group, columns=list(columns))

    def scan(self, columns: Sequence[str] = ("items",)) -> Iterator[Sequences]:
        """All sequences, a unit at a time, in row order."""
        for unit in self.units:
            yield self.read(unit, columns)

    def user_ids(self) -> Iterator[str]:
        """Every user_id, in row order."""
        for unit in self.units:
            yield from self.read_table(unit, ["user_id"]).column("user_id").to_pylist()

    def histories(self, user_ids: Iterable[str]) -> dict[str, list[int]]:
        """The whole sequence of each named user, as item indices.

        Raises:
            UnknownIdError: a user is not in the store.
        """
        wanted = list(dict.fromkeys(user_ids))
        found: dict[str, list[int]] = {}
        for unit in self.units:
            table = self.read_table(unit, ["user_id", "items"])
            table = table.filter(pc.is_in(table.column("user_id"), value_set=pa.array(wanted, pa.string())))
            found |= dict(zip(table.column("user_id").to_pylist(), table.column("items").to_pylist(), strict=True))
        missing = [user_id for user_id in wanted if user_id not in found]
        if missing:
            raise UnknownIdError(
                f"{len(missing)} of {len(wanted)} users are not in the store, the first {missing[0]!r}",
                where=str(self.path),
                do="for a user without a sequence pass `--history` (an empty one gives the popular items)",
            )
        return {user_id: found[user_id] for user_id in wanted}


def _read_manifest(path: Path) -> Manifest:
    file = path / "manifest.json"
    if not file.is_file():
        raise StoreError(
            "not a sequence store" + ("" if path.is_dir() else " (no such folder)"),
            where=str(path),
            expected="a folder with manifest.json, catalogue.parquet and shards/",
            do=f"make one with `seqrec prepare LOG --out {path}`",
        )
    try:
        raw = json.loads(file.read_text())
        version = raw["format_version"]
        if version != FORMAT_VERSION:
            raise StoreError(
                f"format version {version}, this seqrec reads {FORMAT_VERSION}",
                where=str(file),
                do="prepare the store again, or use the seqrec that wrote it",
            )
        return Manifest.model_validate(raw)
    except (json.JSONDecodeError, ValidationError, KeyError, TypeError) as error:
        raise StoreError(f"unreadable manifest ({error})", where=str(file), do="prepare the store again") from error
