"""Quoting of names and values for DuckDB, and the embedded engine itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb


def literal(value: str) -> str:
    """A SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literals(values: Iterable[str]) -> str:
    """A SQL list of string literals."""
    return "[" + ", ".join(map(literal, values)) + "]"


def connect(scratch: Path) -> duckdb.DuckDBPyConnection:
    """An engine whose tables and spilled intermediates lie in ``scratch``, so that a log may exceed memory."""
    connection = duckdb.connect(str(scratch / "prepare.duckdb"), config={"temp_directory": str(scratch / "spill")})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET preserve_insertion_order = true")  # row numbers are the file's, whatever the threads
    connection.execute("SET enable_progress_bar = false")
    return connection


def first(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...] | None:
    """The first row of a query, or None; for queries of few rows."""
    rows = connection.execute(query).fetchall()  # fetchone would leave the result open, which DuckDB 2 complains of
    return rows[0] if rows else None


def one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The only row of a query."""
    (row,) = connection.execute(query).fetchall()
    return row
