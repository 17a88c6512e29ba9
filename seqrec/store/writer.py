"""Writing a sequence store so that a reader never sees half of one."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from seqrec.errors import StoreError
from seqrec.store.manifest import UNIT_ROWS, Manifest, Shard
from seqrec.store.store import SequenceStore

SHARD_UNITS = 32  # 131,072 users a file: some 50 MB for typical logs, so that files neither swarm nor outgrow a cache
_COMPRESSION = "zstd"


def sequence_schema(context: Sequence[str] = ()) -> pa.Schema:
    """Columns of a shard: one row a user, its lists of one length, oldest event first."""
    return pa.schema(
        [
            ("user_id", pa.string()),
            ("items", pa.list_(pa.int32())),
            ("timestamps", pa.list_(pa.int64())),
            ("actions", pa.list_(pa.int8())),
            ("values", pa.list_(pa.float32())),
            *((name, pa.list_(pa.string())) for name in context),
        ]
    )


class StoreWriter:
    """Builds a store in a temporary folder beside its destination; `commit` renames it into place.

    Used as a context manager: leaving it without a commit, by an error or by Ctrl-C, removes the temporary folder.

        with StoreWriter("stores/shop") as writer:
            writer.write_catalogue(catalogue)
            writer.write_units(units, context=[])
            writer.write_json("audit.json", audit)
            store = writer.commit(counts=…, sources=…, …)

    Args:
        path: destination; may exist only as an empty folder.
    Raises:
        StoreError: the destination exists and is not empty.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.shards: list[Shard] = []
        self._catalogue_sha256: str | None = None

    def __enter__(self) -> Self:
        self._refuse_existing()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # beside the destination, since a rename is atomic within one file system only
        self._folder = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.partial-", dir=self.path.parent))
        self._folder.chmod(0o755)  # mkdtemp's 0700 would keep colleagues out of the finished store
        self.scratch.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def scratch(self) -> Path:
        """A folder for intermediates, gone before the commit."""
        return self._folder / ".scratch"

    def write_catalogue(self, table: pa.Table) -> None:
        """Writes `catalogue.parquet`: `item` int32 1..N ascending, `item_id` string, and what `Catalogue` lists."""
        file = self._folder / "catalogue.parquet"
        pq.write_table(table, file, compression=_COMPRESSION)
        self._catalogue_sha256 = _sha256(file)

    def write_units(self, units: Iterable[pa.Table], context: Sequence[str] = ()) -> None:
        """Writes the shards: each unit becomes one row group, every `SHARD_UNITS` of them one file.

        Args:
            units: tables of `sequence_schema(context)`, each of 1..UNIT_ROWS users.
            context: names of the context columns.
        """
        schema = sequence_schema(context)
        (self._folder / "shards").mkdir()
        writer: pq.ParquetWriter | None = None
        rows = events = written = 0
        try:
            for unit in units:
                assert 0 < unit.num_rows <= UNIT_ROWS
                if writer is None:
                    writer = pq.ParquetWriter(self._folder / self._next_shard(), schema, compression=_COMPRESSION)
                writer.write_table(unit, row_group_size=UNIT_ROWS)
                rows, events, written = rows + unit.num_rows, events + _events(unit), written + 1
                if written == SHARD_UNITS:
                    writer.close()
                    self._add_shard(rows, events)
                    writer, rows, events, written = None, 0, 0, 0
        finally:
            if writer is not None:
                writer.close()
        if written:
            self._add_shard(rows, events)

    def write_batches(self, name: str, batches: pa.RecordBatchReader) -> None:
        """Writes a further Parquet file, as `rejected.parquet`, a batch at a time."""
        with pq.ParquetWriter(self._folder / name, batches.schema, compression=_COMPRESSION) as writer:
            for batch in batches:
                writer.write_batch(batch)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Writes a further JSON file, as `audit.json`."""
        (self._folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def commit(self, **manifest: Any) -> SequenceStore:
        """Adds the manifest and moves the store into place.

        Args:
            **manifest: fields of `Manifest` but `fingerprint` and `shards`, which follow from what was written.
        Raises:
            StoreError: the destination was filled in the meantime.
        """
        assert self._catalogue_sha256 is not None
        hashes = [self._catalogue_sha256, *(shard.sha256 for shard in self.shards)]
        fingerprint = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
        content = Manifest(fingerprint=fingerprint, shards=self.shards, **manifest)
        self.write_json("manifest.json", content.model_dump(mode="json"))
        shutil.rmtree(self.scratch)
        self._refuse_existing()
        self._folder.rename(self.path)
        return SequenceStore(self.path)

    def _next_shard(self) -> str:
        return f"shards/part-{len(self.shards):05d}.parquet"

    def _add_shard(self, rows: int, events: int) -> None:
        file = self._next_shard()
        self.shards.append(Shard(file=file, rows=rows, events=events, sha256=_sha256(self._folder / file)))

    def _refuse_existing(self) -> None:
        if self.path.exists() and not (self.path.is_dir() and next(self.path.iterdir(), None) is None):
            raise StoreError("the destination exists", where=str(self.path), do="remove it or choose another --out")


def _events(unit: pa.Table) -> int:
    return sum(len(chunk.flatten()) for chunk in unit.column("items").chunks)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
