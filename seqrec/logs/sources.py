"""From paths and globs in a recipe to files and data sets that exist, with their formats and hashes."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seqrec.errors import LogError
from seqrec.logs.datasets import DatasetSource, dataset_source
from seqrec.logs.settings import DatasetSettings, Format, LogSettings, TableSettings
from seqrec.store import SourceFile

_FORMAT_OF_SUFFIX: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "sequences",
}
_COMPRESSIONS = (".gz", ".zst")


@dataclass(frozen=True)
class FileSource:
    """A raw file that exists.

    Attributes:
        name: the path as the recipe gives it (for a glob: with the wildcards filled in).
        path: where the file lies.
        format: how its bytes are to be read.
        header: column names where the file has no header line.
        delimiter: field separator of csv and tsv.
        setting: prefix of the settings that describe it, for error messages.
    """

    name: str
    path: Path
    format: Format
    header: Sequence[str] | None = None
    delimiter: str = ","
    setting: str = "logs"

    def fingerprint(self) -> SourceFile:
        """Size and SHA-256 of the file."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return SourceFile(path=self.name, size_bytes=self.path.stat().st_size, sha256=digest)


Source = FileSource | DatasetSource


def log_sources(settings: LogSettings) -> list[Source]:
    """Every event file and data set, in the order given and a glob's sorted.

    Raises:
        LogError: nothing lies at a path, a path is named twice, a format cannot be told from a name, or a data set
            cannot be loaded.
    """
    root, origin = _root(settings)
    sources: list[Source] = []
    for told in settings.sources:
        if isinstance(told, DatasetSettings):
            sources.append(dataset_source(told, root))
            continue
        for name in _expand(told, root, origin):
            sources.append(_source(name, root, settings.format, settings.header, settings.delimiter, "logs"))
    places = [source.path.resolve() if isinstance(source, FileSource) else source.name for source in sources]
    if repeated := [source.name for source, place in zip(sources, places, strict=True) if places.count(place) > 1]:
        raise LogError("named twice", where=repeated[-1], do="list each file once in `logs.sources`")
    return sources


def table_source(settings: LogSettings, table: TableSettings) -> FileSource:
    """The file of a table of attributes.

    Raises:
        LogError: as `log_sources`.
    """
    root, origin = _root(settings)
    (name, *more) = _expand(table.path, root, origin)
    if more:
        raise LogError(
            f"matches {1 + len(more)} files", where=table.path, do=f"name one file in `{table.section}.path`"
        )
    source = _source(name, root, table.format, table.header, table.delimiter, table.section)
    if source.format == "sequences":
        raise LogError("not a table", where=name, do=f"set `{table.section}.format` to csv, tsv, jsonl or parquet")
    return source


def _root(settings: LogSettings) -> tuple[Path, str]:
    """The folder of relative paths, and where it was taken from."""
    if settings.root is not None:
        return Path(settings.root), "`logs.root`"
    if folder := os.environ.get("SEQREC_DATA"):
        return Path(folder), "SEQREC_DATA"
    return Path(), "the current directory; SEQREC_DATA is not set"


def _expand(pattern: str, root: Path, origin: str) -> list[str]:
    if (root / pattern).is_file():  # before globbing: a file's name may contain brackets
        return [pattern]
    names = sorted(glob.glob(pattern, root_dir=root, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute ones
    files = [name for name in names if (root / name).is_file()]
    if files:
        return files
    what = "no file matches this glob" if glob.has_magic(pattern) else "no such file"
    if Path(pattern).is_absolute():
        raise LogError(what, where=pattern, do="correct the path")
    raise LogError(
        what,
        where=pattern,
        root=f"{root.resolve()} ({origin})",
        do="correct the path, or set `logs.root` or the environment variable SEQREC_DATA to the folder it lies in",
    )


def _source(
    name: str, root: Path, format: str, header: Sequence[str] | None, delimiter: str | None, setting: str
) -> FileSource:
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    compressed = bool(suffixes) and suffixes[-1] in _COMPRESSIONS
    suffix = "".join(suffixes[-2:-1] if compressed else suffixes[-1:])
    told = _FORMAT_OF_SUFFIX.get(suffix) if format == "auto" else format
    if told is None:
        raise LogError(
            "the format cannot be told from the name",
            where=name,
            known=" ".join(_FORMAT_OF_SUFFIX),
            do=f"set `{setting}.format`",
        )
    if told == "parquet" and compressed:
        raise LogError("Parquet compresses within the file", where=name, do=f"decompress it: {name} is not readable")
    default = "\t" if told == "tsv" else ","
    return FileSource(name, root / name, told, header, delimiter or default, setting)  # type: ignore[arg-type]
