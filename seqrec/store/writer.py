"""Writing a sequence store so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from seqrec.errors import StoreError
from seqrec.store.location import locate, reaching
from seqrec.store.manifest import MANIFEST, UNIT_ROWS, Manifest, Shard, file_sha256
from seqrec.store.store import SequenceStore

if TYPE_CHECKING:
    from upath import UPath

SHARD_UNITS = 32  # 131,072 users a file: some 50 MB for typical logs, so that files neither swarm nor outgrow a cache
_COMPRESSION = "zstd"
# Shards are read every epoch: lz4 is read by a third faster than zstd, and delta encoding more than makes up for its
# size, to 28 % less than zstd over dictionaries (benchmarks/shards.py). Byte stream split would be smaller by another
# 5 %, but Spark and older tools do not read it for integers.
_DELTA = {
    "user_id": "DELTA_BYTE_ARRAY",
    "items.list.element": "DELTA_BINARY_PACKED",
    "timestamps.list.element": "DELTA_BINARY_PACKED",
}


def sequence_schema(context: Sequence[str] = (), attributes: Sequence[str] = ()) -> pa.Schema:
    """Columns of a shard: one row a user, its lists of one length, oldest event first, and attributes of the user."""
    return pa.schema(
        [
            ("user_id", pa.string()),
            ("items", pa.list_(pa.int32())),
            ("timestamps", pa.list_(pa.int64())),
            ("actions", pa.list_(pa.int8())),
            ("values", pa.list_(pa.float32())),
            *((name, pa.list_(pa.string())) for name in context),
            *((name, pa.string()) for name in attributes),
        ]
    )


def shard_format(schema: pa.Schema) -> dict[str, Any]:
    """How a shard of this schema is laid out: arguments of pyarrow's `ParquetWriter`."""
    columns = [f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in schema]
    return {
        "compression": "lz4",
        "use_dictionary": [column for column in columns if column not in _DELTA],
        "column_encoding": _DELTA,
        "write_statistics": ["user_id"],
    }


class StoreWriter:
    """Builds a store in a temporary folder and puts it in place as the last act, so that it appears at once and whole.

    The folder lies beside the destination and is renamed to it; where the destination is a URL it lies in the system's
    temporary folder and is uploaded, `manifest.json` last.

    Used as a context manager: leaving it without a commit, by an error or by Ctrl-C, removes the temporary folder.

        with StoreWriter("stores/shop") as writer:
            writer.write_catalogue(catalogue)
            writer.write_units(units, context=[])
            writer.write_json("audit.json", audit)
            store = writer.commit(counts=…, sources=…, …)

    Args:
        path: destination, a folder or a URL of any fsspec protocol; may exist only as an empty folder.
    Raises:
        StoreError: the destination exists and is not empty, or cannot be reached.
    """

    def __init__(self, path: str | Path | UPath):
        self.path = locate(path)
        self.shards: list[Shard] = []
        self._catalogue_sha256: str | None = None

    def __enter__(self) -> Self:
        self._refuse_existing()
        beside = None
        if isinstance(self.path, Path):
            beside = self.path.parent  # since a rename is atomic within one file system only
            beside.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.partial-", dir=beside))
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
        self._catalogue_sha256 = file_sha256(file)

    def write_units(
        self, units: Iterable[pa.Table], context: Sequence[str] = (), attributes: Sequence[str] = ()
    ) -> None:
        """Writes the shards: each unit becomes one row group, every `SHARD_UNITS` of them one file.

        Args:
            units: tables of `sequence_schema(context, attributes)`, each of 1..UNIT_ROWS users.
            context: names of the context columns.
            attributes: names of the columns with attributes of the users.
        """
        schema = sequence_schema(context, attributes)
        (self._folder / "shards").mkdir()
        writer: pq.ParquetWriter | None = None
        events = 0
        unit_rows: list[int] = []
        try:
            for unit in units:
                assert 0 < unit.num_rows <= UNIT_ROWS
                if writer is None:
                    writer = pq.ParquetWriter(self._folder / self._next_shard(), schema, **shard_format(schema))
                writer.write_table(unit, row_group_size=UNIT_ROWS)
                unit_rows, events = [*unit_rows, unit.num_rows], events + _events(unit)
                if len(unit_rows) == SHARD_UNITS:
                    writer.close()
                    self._add_shard(unit_rows, events)
                    writer, unit_rows, events = None, [], 0
        finally:
            if writer is not None:
                writer.close()
        if unit_rows:
            self._add_shard(unit_rows, events)

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
        (self._folder / "README.md").write_text(_card(content), encoding="utf-8")
        self.write_json(MANIFEST, content.model_dump(mode="json"))
        shutil.rmtree(self.scratch)
        self._refuse_existing()
        if isinstance(self.path, Path):
            self._folder.rename(self.path)
        else:
            self._upload(self.path)
        return SequenceStore(self.path)

    def _next_shard(self) -> str:
        return f"shards/part-{len(self.shards):05d}.parquet"

    def _add_shard(self, unit_rows: list[int], events: int) -> None:
        name = self._next_shard()
        file = self._folder / name
        self.shards.append(
            Shard(
                file=name,
                rows=sum(unit_rows),
                events=events,
                size_bytes=file.stat().st_size,
                sha256=file_sha256(file),
                unit_rows=unit_rows,
            )
        )

    def _upload(self, destination: UPath) -> None:
        """Copies the folder; object stores have no rename, but a folder without a manifest is no store yet."""
        files = [file for file in self._folder.rglob("*") if file.is_file()]
        files.sort(key=lambda file: (file.name == MANIFEST, file))
        *targets, manifest = [(destination / file.relative_to(self._folder).as_posix()).path for file in files]
        fs = destination.fs
        with reaching(destination):
            try:
                fs.put([str(file) for file in files[:-1]], targets)
                fs.put_file(str(files[-1]), manifest)
            except BaseException:
                with contextlib.suppress(Exception):  # the first error is the one to tell
                    fs.rm([target for target in [*targets, manifest] if fs.exists(target)])
                raise

    def _refuse_existing(self) -> None:
        with reaching(self.path):
            if self._occupied():
                raise StoreError("the destination exists", where=str(self.path), do="remove it or choose another --out")

    def _occupied(self) -> bool:
        if isinstance(self.path, Path):
            return self.path.exists() and not (self.path.is_dir() and next(self.path.iterdir(), None) is None)
        self.path.fs.invalidate_cache()
        try:
            return bool(self.path.fs.find(self.path.path))
        except FileNotFoundError:
            return False


def _card(manifest: Manifest) -> str:
    """Tells people what the folder is, and Hugging Face `datasets` which of its files are what."""
    counts = manifest.counts
    return f"""---
configs:
- config_name: sequences
  default: true
  data_files: shards/*.parquet
- config_name: catalogue
  data_files: catalogue.parquet
---
# Sequence store

{counts.users:,} users, {counts.items:,} items, {counts.events:,} events; written by `seqrec prepare`.

`shards/` has one row a user: `user_id`, and lists of one length, oldest event first: `items` (indices into
`catalogue.parquet`, from 1), `timestamps` (µs since 1970 UTC), `actions` (places in `actions` of `manifest.json`),
`values`, and what else the log had; columns of text are attributes of the user. `manifest.json` says what the store was
made from, and how.
"""


def _events(unit: pa.Table) -> int:
    return sum(len(chunk.flatten()) for chunk in unit.column("items").chunks)
