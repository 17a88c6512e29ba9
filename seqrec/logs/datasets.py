"""Data sets of Hugging Face `datasets` as event logs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc

from seqrec.errors import LogError
from seqrec.logs.settings import DatasetSettings
from seqrec.store import SourceFile

if TYPE_CHECKING:
    import datasets

_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class DatasetSource:
    """One split, as Arrow tables in files that are mapped into memory, not read into it.

    Attributes:
        name: path, configuration, revision and split.
        dataset: the rows.
        format: what tells it from a file.
        setting: prefix of the settings that describe it, for error messages.
    """

    name: str
    dataset: datasets.Dataset
    format: Literal["dataset"] = "dataset"
    setting: str = "logs"

    def fingerprint(self) -> SourceFile:
        """Bytes and SHA-256 of the rows as an Arrow stream: of the content, wherever it was loaded from."""
        sink = _Digest()
        with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), self.dataset.features.arrow_schema) as stream:
            for table in self._tables():
                stream.write_table(table.combine_chunks())
        return SourceFile(path=self.name, size_bytes=sink.size, sha256=sink.sha256.hexdigest())

    def read(self, roles: Mapping[str, str]) -> pa.RecordBatchReader:
        """The rows a batch at a time: `row` int64 from 1, and a column a role; classes by their names.

        Args:
            roles: role → column.
        """
        first = self._columns(self.dataset.with_format("arrow")[:0], roles, 1)
        batches = (batch for table in self._numbered(roles) for batch in table.to_batches())
        return pa.RecordBatchReader.from_batches(first.schema, batches)

    def _numbered(self, roles: Mapping[str, str]) -> Iterator[pa.Table]:
        row = 1
        for table in self._tables():
            yield self._columns(table, roles, row)
            row += table.num_rows

    def _tables(self) -> Iterator[pa.Table]:
        yield from self.dataset.with_format("arrow").iter(_BATCH_ROWS)

    def _columns(self, table: pa.Table, roles: Mapping[str, str], row: int) -> pa.Table:
        columns = {"row": pa.array(range(row, row + table.num_rows), pa.int64())}
        for role, name in roles.items():
            column = table.column(name)
            if names := getattr(self.dataset.features[name], "names", None):  # a ClassLabel; -1 is none of them
                column = pa.array(names).take(pc.if_else(pc.greater_equal(column, 0), column, None))
            columns[role] = column
        return pa.table(columns)


def dataset_source(settings: DatasetSettings, root: Path) -> DatasetSource:
    """Loads a data set; one of the hub is downloaded into `datasets`' own cache.

    Raises:
        LogError: it is not there, cannot be reached or read, has no such split, or has several and none is named.
    """
    import datasets

    folder = root / settings.path
    saved = any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))
    try:
        if saved:
            found = datasets.load_from_disk(str(folder))
        else:
            path = str(folder) if folder.is_dir() else settings.path
            found = datasets.load_dataset(path, settings.name, split=settings.split, revision=settings.revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise LogError(
            f"cannot be loaded ({type(error).__name__}: {' '.join(str(error).split())[:500]})",
            where=settings.path,
            root=f"{root.resolve()} has no such folder" if not folder.is_dir() else f"the folder {folder}",
            do="check path, name, split and revision, and that the hub can be reached where it is not a folder",
        ) from error
    name = settings.path + "".join(
        mark + part for mark, part in (("/", settings.name), ("@", settings.revision)) if part
    )
    if settings.split and not saved:  # `load_dataset` has taken it, be it a part of one
        return DatasetSource(f"{name}:{settings.split}", found)
    splits = {found.split: found} if isinstance(found, datasets.Dataset) else found
    split = settings.split or next(iter(splits))
    if split not in splits or (settings.split is None and len(splits) > 1):
        what = f"no split `{split}`" if settings.split else f"{len(splits)} splits"
        has = ", ".join(str(name or "one without a name") for name in splits)
        raise LogError(what, where=settings.path, has=has, do="set `split` of this source")
    return DatasetSource(f"{name}:{split}" if split else name, splits[split])


class _Digest:
    """A file to write to that keeps only size and hash."""

    closed = False

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
