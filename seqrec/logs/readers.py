"""One reader a format: each gives the rows of a file or data set as text columns, with their row numbers in it.

Row 1 is the first row of data: the line after the header where there is one. Blank lines are no rows and are not
counted; a quoted field with line breaks is part of one row.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from seqrec.errors import ColumnError, LogError
from seqrec.logs.datasets import DatasetSource
from seqrec.logs.sources import FileSource, Source
from seqrec.logs.sql import identifier, literal, literals, one

MALFORMED = "malformed line"
_JSON_SAMPLE_LINES = 10_000
_MAX_LINE_BYTES = 64 << 20  # one line of `sequences` or JSON may be long
_REJECTS, _SCANS, _DATASET = "reader_rejects", "reader_scans", "reader_dataset"


def check_columns(source: Source, roles: Mapping[str, str], settings: Mapping[str, str]) -> None:
    """Refuses a file that lacks a column, before the long work starts.

    JSON Lines have no header: the keys of the first 10,000 lines are taken for the file's columns.

    Args:
        source: the file.
        roles: role → column.
        settings: role → the setting that names the column, for the message.
    Raises:
        ColumnError: a column is missing.
        LogError: the file's head cannot be read.
    """
    if source.format == "sequences":
        return
    columns = column_names(source)
    for role, column in roles.items():
        if column not in columns:
            raise ColumnError.missing(column, file=source.name, available=columns, setting=settings[role])


def column_names(source: Source) -> list[str]:
    """The columns that a data set or a csv, tsv, jsonl or parquet file has.

    Raises:
        LogError: the file is empty, is not of its format, or repeats a column.
    """
    if isinstance(source, DatasetSource):
        return list(source.dataset.column_names)
    try:
        if source.format == "parquet":
            names = list(pq.read_schema(source.path).names)
        elif source.format == "jsonl":
            names = list(_json_keys(source))
        else:
            names = list(source.header) if source.header is not None else _header_line(source)
    except (OSError, pa.ArrowException, UnicodeDecodeError, csv.Error) as error:
        what = f"cannot be read as {source.format} ({error})"
        raise LogError(what, where=source.name, do=_format_hint(source)) from error
    # DuckDB does not tell names apart by case, but for JSON, whose keys are values to it
    keys = names if source.format == "jsonl" else [name.lower() for name in names]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        alike = " or ".join(dict.fromkeys(f"`{name}`" for name, key in zip(names, keys, strict=True) if key == twice))
        hint = f"give the columns names of their own in the file or in `{source.setting}.header`"
        raise LogError(f"two columns are called {alike}", where=source.name, do=hint)
    return names


def create_rows(connection: duckdb.DuckDBPyConnection, roles: Iterable[str], table: str) -> None:
    """Creates the table that `read_rows` fills.

    Its columns: `file` int32 · `row` int64 from 1 · `pos` int32, the place within a line of `sequences`, else 0 · one
    text column a role · `reason` and `raw` text, filled for lines that are not rows at all.
    """
    texts = "".join(f", {identifier(role)} VARCHAR" for role in roles)
    connection.execute(f"CREATE TABLE {table} (file INT, row BIGINT, pos INT{texts}, reason VARCHAR, raw VARCHAR)")


def read_rows(
    connection: duckdb.DuckDBPyConnection, source: Source, roles: Mapping[str, str], table: str, file: int = 0
) -> None:
    """Adds the rows of a file to a table made by `create_rows`, as those of file number ``file``.

    Raises:
        LogError: the file cannot be read as its format at all.
    """
    if isinstance(source, DatasetSource):
        query = _dataset(connection, source, roles)
    else:
        query = _QUERIES[source.format](source, roles)
    try:
        connection.execute(f"INSERT INTO {table} BY NAME SELECT {file} AS file, * FROM ({query})")
    except duckdb.Error as error:
        what = str(error).splitlines()[0]
        hint = _format_hint(source)
        if "state machine" in what:
            what, hint = "line ends are mixed (\\n and \\r\\n)", f"make them alike: sed -i 's/\\r$//' {source.name}"
        raise LogError(f"cannot be read as {source.format}: {what}", where=source.name, do=hint) from error
    if isinstance(source, FileSource) and source.format != "parquet":
        _add_malformed(connection, source, table, file)


def _csv(source: FileSource, roles: Mapping[str, str]) -> str:
    columns = column_names(source)
    reader = _read_csv(
        source,
        columns,
        header=source.header is None,
        delimiter=source.delimiter,
        quote='"' if source.format == "csv" else "",
    )
    texts = ", ".join(f"{identifier(column)} AS {identifier(role)}" for role, column in roles.items())
    return f"SELECT row_number() OVER () AS row, 0 AS pos, {texts}, {_NO_FAULT} FROM {reader}"


def _jsonl(source: FileSource, roles: Mapping[str, str]) -> str:
    # JSON pointers take any key, where JSON paths give meaning to `$` and `.`
    pointers = literals("/" + column.replace("~", "~0").replace("/", "~1") for column in roles.values())
    texts = ", ".join(f"fields[{i}] AS {identifier(role)}" for i, role in enumerate(roles, start=1))
    return f"""
        SELECT row, 0 AS pos, {texts},
            CASE WHEN fields IS NULL THEN {literal(MALFORMED)} END AS reason,
            CASE WHEN fields IS NULL THEN line END AS raw
        FROM (
            SELECT row, line,
                CASE WHEN json_valid(line) AND json_type(line) = 'OBJECT'
                    THEN json_extract_string(line, {pointers}) END AS fields
            FROM ({_lines(source)})
        )"""


def _sequences(source: FileSource, roles: Mapping[str, str]) -> str:
    return f"""
        SELECT row, unnest(range(1, greatest(len(words), 2)))::INTEGER AS pos, words[1] AS "user",
            unnest(CASE WHEN len(words) > 1 THEN words[2:] ELSE [NULL] END) AS item, {_NO_FAULT}
        FROM (SELECT row, regexp_split_to_array(trim(line, e' \\t'), '[ \\t]+') AS words FROM ({_lines(source)}))"""


def _parquet(source: FileSource, roles: Mapping[str, str]) -> str:
    return f"""
        SELECT file_row_number + 1 AS row, 0 AS pos, {_texts(pq.read_schema(source.path), roles)}, {_NO_FAULT}
        FROM read_parquet({_file(source)}, file_row_number = true, binary_as_string = true)"""


def _dataset(connection: duckdb.DuckDBPyConnection, source: DatasetSource, roles: Mapping[str, str]) -> str:
    rows = source.read(roles)
    connection.register(_DATASET, rows)
    return f"SELECT row, 0 AS pos, {_texts(rows.schema, {role: role for role in roles})}, {_NO_FAULT} FROM {_DATASET}"


def _texts(schema: pa.Schema, roles: Mapping[str, str]) -> str:
    """SQL for typed columns as text."""

    def text(column: str) -> str:
        kind, name = schema.field(column).type, identifier(column)
        if pa.types.is_timestamp(kind):  # nanoseconds are rounded to the microseconds that a store holds
            name = f"{name}::{'TIMESTAMPTZ' if kind.tz else 'TIMESTAMP'}"
        return f"{name}::VARCHAR"

    return ", ".join(f"{text(column)} AS {identifier(role)}" for role, column in roles.items())


_QUERIES = {"csv": _csv, "tsv": _csv, "jsonl": _jsonl, "sequences": _sequences, "parquet": _parquet}
_NO_FAULT = "NULL::VARCHAR AS reason, NULL::VARCHAR AS raw"


def _lines(source: FileSource) -> str:
    # a reader of whole lines: no quotes, and a delimiter that neither JSON nor ids contain
    reader = _read_csv(source, ["line"], header=False, delimiter="\x02", quote="")
    return f"SELECT row_number() OVER () AS row, line FROM {reader} WHERE trim(line, e' \\t') <> ''"


def _read_csv(source: FileSource, columns: list[str], *, header: bool, delimiter: str, quote: str) -> str:
    types = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in columns)
    return f"""read_csv({_file(source)}, auto_detect = false, columns = {{{types}}}, header = {header},
        delim = {literal(delimiter)}, quote = {literal(quote)}, escape = {literal(quote)},
        force_not_null = {literals(columns)}, strict_mode = true, max_line_size = {_MAX_LINE_BYTES},
        store_rejects = true, rejects_table = '{_REJECTS}', rejects_scan = '{_SCANS}')"""


def _file(source: FileSource) -> str:
    # a list of one, with wildcards escaped: DuckDB would expand a file name that holds brackets
    path = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(source.path))
    return f"[{literal(path)}]"


def _add_malformed(connection: duckdb.DuckDBPyConnection, source: FileSource, table: str, file: int) -> None:
    """Puts the lines that the engine refused into the table, and moves the rows after them down by as many."""
    header = int(source.format in ("csv", "tsv") and source.header is None)
    connection.execute(
        f"""CREATE TABLE malformed AS
        SELECT row, row_number() OVER (ORDER BY row) AS n, raw FROM (
            SELECT line - {header} AS row, trim(min(csv_line), e'\\r\\n') AS raw FROM {_REJECTS} GROUP BY line)"""
    )
    (count,) = one(connection, "SELECT count(*) FROM malformed")
    if count:
        connection.execute(
            f"""UPDATE {table} SET row = {table}.row + moved.n
            FROM (
                SELECT DISTINCT good.row, shift.n FROM (SELECT row FROM {table} WHERE file = {file}) AS good
                ASOF JOIN (SELECT row - n AS good_before, max(n) AS n FROM malformed GROUP BY ALL) AS shift
                ON good.row > shift.good_before
            ) AS moved
            WHERE {table}.file = {file} AND {table}.row = moved.row"""
        )
        connection.execute(
            f"""INSERT INTO {table} BY NAME
            SELECT {file} AS file, row, 0 AS pos, {literal(MALFORMED)} AS reason, raw FROM malformed"""
        )
    for name in ("malformed", _REJECTS, _SCANS):
        connection.execute(f"DROP TABLE {name}")


def _header_line(source: FileSource) -> list[str]:
    with _open_text(source) as text:
        if source.format == "csv":
            lines = csv.reader(text, delimiter=source.delimiter)
        else:
            lines = csv.reader(text, delimiter=source.delimiter, quoting=csv.QUOTE_NONE)
        names = next(lines, [])
    if not names:
        raise LogError("no header line", where=source.name, do=f"leave the file out, or set `{source.setting}.header`")
    return names


def _json_keys(source: FileSource) -> Iterator[str]:
    keys: dict[str, None] = {}
    with _open_text(source) as text:
        for line in islice(text, _JSON_SAMPLE_LINES):
            try:
                parsed = json.loads(line)
            except ValueError:
                continue  # the reader counts it as malformed
            if isinstance(parsed, dict):
                keys |= dict.fromkeys(parsed)
    return iter(keys)


def _open_text(source: FileSource) -> io.TextIOWrapper:
    compression = {".gz": "gzip", ".zst": "zstd"}.get(source.path.suffix.lower())
    stream = pa.input_stream(str(source.path), compression=compression)
    return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")


def _format_hint(source: Source) -> str:
    if isinstance(source, DatasetSource):
        return "look at the data set, and at `split` of this source"
    return f"set `{source.setting}.format` (now {source.format}), or repair the file"
