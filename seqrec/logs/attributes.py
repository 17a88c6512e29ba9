"""The table of item attributes that is joined into the catalogue."""

from __future__ import annotations

import duckdb

from seqrec.errors import LogError
from seqrec.logs.readers import check_columns, create_rows, read_rows
from seqrec.logs.settings import ItemTableSettings
from seqrec.logs.sources import FileSource
from seqrec.logs.sql import first, identifier


def check_item_table(source: FileSource, settings: ItemTableSettings) -> None:
    """Refuses a table that lacks a column.

    Raises:
        ColumnError: a column is missing.
        LogError: the file's head cannot be read.
    """
    names = {"item_id": "logs.items.id", "title": "logs.items.title", "category": "logs.items.category"}
    roles = settings.roles()
    check_columns(source, roles, {role: names.get(role, "logs.items.columns") for role in roles})


def read_item_table(
    connection: duckdb.DuckDBPyConnection, source: FileSource, settings: ItemTableSettings
) -> list[str]:
    """Reads the table into `attributes`: `item_id` and the attributes as text, an empty cell as null.

    Returns:
        The names of the attributes.
    Raises:
        LogError: a line is malformed, an id is empty, or an id occurs twice.
    """
    roles = settings.roles()
    create_rows(connection, roles, "item_rows")
    read_rows(connection, source, roles, "item_rows")
    fault = first(
        connection,
        """SELECT row, coalesce(reason, 'empty id') FROM item_rows
        WHERE reason IS NOT NULL OR coalesce(item_id, '') = '' ORDER BY row LIMIT 1""",
    )
    if fault:
        raise LogError(
            f"row {fault[0]}: {fault[1]}", where=source.name, do="repair the row, or set `logs.items.header`"
        )
    twice = first(
        connection,
        """SELECT item_id, list(row ORDER BY row), count(*) OVER () FROM item_rows
        GROUP BY item_id HAVING count(*) > 1 ORDER BY min(row) LIMIT 1""",
    )
    if twice:
        item_id, rows, count = twice
        raise LogError(
            f"{count:,} ids occur more than once",
            where=f"{source.name}, column `{settings.id}`",
            first=f"{item_id!r} in rows {', '.join(map(str, rows[:5]))}",
            do="keep one row an item",
        )
    names = [role for role in roles if role != "item_id"]
    texts = "".join(f", nullif({identifier(name)}, '') AS {identifier(name)}" for name in names)
    connection.execute(f"CREATE TABLE attributes AS SELECT item_id{texts} FROM item_rows")
    connection.execute("DROP TABLE item_rows")
    return names
