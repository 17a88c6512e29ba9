"""Reading a sequence store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seqrec.errors import StoreError, UnknownIdError
from seqrec.store.cache import CacheSettings, ShardCache
from seqrec.store.catalogue import Catalogue
from seqrec.store.location import is_local, locate, reaching
from seqrec.store.manifest import MANIFEST, Shard
from seqrec.store.manifest_file import holds_manifest, read_manifest
from seqrec.store.sequences import Sequences, from_table

if TYPE_CHECKING:
    from upath import UPath


@dataclass(frozen=True)
class Unit:
    """Consecutive rows that are read together: one row group of one shard."""

    shard: str
    row_group: int
    first_row: int
    rows: int


class SequenceStore:
    """A store opened for reading.

    Args:
        path: the store's folder, or a URL of any fsspec protocol (s3://, gs://, abfs://, …).
        cache: where copies of the shards of a store at a URL are kept; None reads there each time, and of each unit
            only the columns asked for.
    Raises:
        StoreError: it is not a sequence store, is of another format version, lacks a file or cannot be reached.
        MissingExtraError: the package that opens the protocol is not installed.
    """

    def __init__(self, path: str | Path | UPath, *, cache: CacheSettings | None = CacheSettings()):  # noqa: B008 - frozen
        self.path = locate(path)
        self.manifest = read_manifest(self.path)
        self._shards = {shard.file: shard for shard in self.manifest.shards}
        self._cache = None if cache is None or is_local(self.path) else ShardCache(cache)
        self._footers: dict[str, pq.FileMetaData] = {}
        self._check_shards()

    @staticmethod
    def exists(path: str | Path | UPath) -> bool:
        """Whether a store lies there; a whole one, as the manifest is what appears last.

        Raises:
            StoreError: the place cannot be reached.
        """
        return holds_manifest(locate(path))

    @cached_property
    def catalogue(self) -> Catalogue:
        """All items, read once."""
        with reaching(self.path):
            return Catalogue.read(self.path / "catalogue.parquet")

    @cached_property
    def units(self) -> list[Unit]:
        """Every non-empty row group, in row order."""
        units, first_row = [], 0
        for shard in self.manifest.shards:
            for group, rows in enumerate(shard.unit_rows):
                if rows:
                    units.append(Unit(shard.file, group, first_row, rows))
                first_row += rows
        return units

    def read(self, *units: Unit, columns: Sequence[str] = ("items",)) -> Sequences:
        """The sequences of units of one shard, in their order.

        Args:
            units: those of one shard.
            columns: of `items`, `timestamps`, `actions`, `values` and the manifest's ``user_attributes``.
        Raises:
            StoreError: the shard is damaged, or a row holds an item that the catalogue does not.
        """
        rows = np.concatenate([np.arange(unit.first_row, unit.first_row + unit.rows) for unit in units])
        sequences = from_table(self.read_table(*units, columns=columns), rows)
        self._check_items(units[0].shard, sequences)
        return sequences

    def read_table(self, *units: Unit, columns: Sequence[str]) -> pa.Table:
        """The named columns of units of one shard as an Arrow table."""
        shard, last = units[0].shard, units[-1]
        with reaching(self.path):
            try:
                with self._open(self._shards[shard]) as file:
                    groups = [unit.row_group for unit in units]
                    # a column or two: Arrow's own threads would take longer to hand them over than to decode them
                    return file.read_row_groups(groups, columns=list(columns), use_threads=False)
            except (pa.ArrowException, OSError) as error:
                if not is_local(self.path):
                    raise  # the network's, more likely than the file's
                raise StoreError(
                    f"cannot read rows {units[0].first_row:,} to {last.first_row + last.rows - 1:,} of the store",
                    where=str(self.path / shard),
                    reason=" ".join(str(error).split()),
                    do="copy the store again, or prepare it again",
                ) from error

    def scan(self, columns: Sequence[str] = ("items",)) -> Iterator[Sequences]:
        """All sequences, a unit at a time, in row order."""
        for unit in self.units:
            yield self.read(unit, columns=columns)

    def user_ids(self) -> Iterator[str]:
        """Every user_id, in row order."""
        for unit in self.units:
            yield from self.read_table(unit, columns=["user_id"]).column("user_id").to_pylist()

    def histories(self, user_ids: Iterable[str]) -> dict[str, list[int]]:
        """The whole sequence of each named user, as item indices.

        Raises:
            UnknownIdError: a user is not in the store.
        """
        return {user_id: row["items"] for user_id, row in self.rows_of(user_ids, ("items",)).items()}

    def rows_of(self, user_ids: Iterable[str], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The named columns of each named user: lists with an entry an event, as they are in the store.

        Raises:
            UnknownIdError: a user is not in the store.
        """
        wanted = list(dict.fromkeys(user_ids))
        found: dict[str, dict[str, Any]] = {}
        for unit in self.units:
            table = self.read_table(unit, columns=["user_id", *columns])
            table = table.filter(pc.is_in(table.column("user_id"), value_set=pa.array(wanted, pa.string())))
            found |= {row.pop("user_id"): row for row in table.to_pylist()}
        missing = [user_id for user_id in wanted if user_id not in found]
        if missing:
            raise UnknownIdError(
                f"{len(missing)} of {len(wanted)} users are not in the store, the first {missing[0]!r}",
                where=str(self.path),
                do="for a user without a sequence pass `--history` (an empty one gives the popular items)",
            )
        return {user_id: found[user_id] for user_id in wanted}

    def _check_items(self, shard: str, sequences: Sequences) -> None:
        items, n_items = sequences.items, self.manifest.counts.items
        # a column with nulls comes as floats; their NaN lies outside as well
        if not len(items) or (items.min() >= 1 and items.max() <= n_items):
            return
        event = int(np.flatnonzero(~((items >= 1) & (items <= n_items)))[0])
        row = int(np.searchsorted(sequences.offsets, event, side="right")) - 1
        raise StoreError(
            f"row {sequences.rows[row]:,} of the store holds item {items[event]}, its catalogue 1 to {n_items:,}",
            where=str(self.path / shard),
            event=f"{event - sequences.offsets[row]:,} of its sequence",
            do="prepare the store again; it was not written by seqrec, or changed since",
        )

    def _open(self, shard: Shard) -> pq.ParquetFile:
        # a footer describes all units of its shard: reading it again for each took a third of the time of a unit
        file = pq.ParquetFile(self._bytes(shard), metadata=self._footers.get(shard.file), pre_buffer=self._ranged)
        self._footers[shard.file] = file.metadata
        return file

    @property
    def _ranged(self) -> bool:
        return self._cache is None and not is_local(self.path)

    def _bytes(self, shard: Shard) -> Any:
        path: Any = self.path / shard.file
        if is_local(path):
            return pa.OSFile(str(path))  # which pyarrow would make of a path, but first find its file system
        if self._cache is not None:
            return self._cache.open(shard, lambda copy: path.fs.get_file(path.path, str(copy)))
        # pre_buffer asks for a unit's columns in few pieces; fsspec's own read-ahead would only fetch more
        return path.fs.open(path.path, cache_type="none")

    def _check_shards(self) -> None:
        sizes = _sizes(self.path, [shard.file for shard in self.manifest.shards])
        if sizes is None:
            return
        for what, names in {
            "missing": [s.file for s in self.manifest.shards if s.file not in sizes],
            "truncated": [s.file for s in self.manifest.shards if sizes.get(s.file) not in (None, s.size_bytes)],
        }.items():
            if names:
                raise StoreError(
                    f"{len(names)} of {len(self.manifest.shards)} shards are {what}, the first {names[0]}",
                    where=str(self.path),
                    do="copy the store again, or prepare it again",
                )


def _sizes(path: Path | UPath, names: list[str]) -> dict[str, int | None] | None:
    """Bytes of each file that is there, None where the protocol does not tell; no answer where it lists no folders.

    That is so where the manifest is not listed, since it has been read: HTTP servers list nothing, or make a page.
    """
    if isinstance(path, Path):
        return {name: (path / name).stat().st_size for name in names if (path / name).is_file()}
    with reaching(path):
        listed = path.fs.find(path.path, detail=True)
    folder = path.path.rstrip("/") + "/"
    sizes = {name.removeprefix(folder): info.get("size") for name, info in listed.items()}
    return sizes if MANIFEST in sizes else None
