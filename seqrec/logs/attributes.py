"""Tables of attributes: of items, joined into the catalogue, and of users, kept with their sequences."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from seqrec.errors import LogError
from seqrec.logs.readers import check_columns, create_rows, read_rows
from seqrec.logs.settings import LogSettings, TableSettings
from seqrec.logs.sources import FileSource, table_source
from seqrec.logs.sql import first


@dataclass(frozen=True)
class AttributeTable:
    """A table of attributes that exists and has the columns that are asked for.

    Attributes:
        source: its file.
        settings: what is read of it.
    """

    source: FileSource
    settings: TableSettings

    @property
    def key(self) -> str:
        """The column of ids: `item_id` or `user_id`."""
        return next(iter(self.settings.roles()))

    @property
    def attributes(self) -> list[str]:
        """Names of the attributes, as the store has them."""
        return list(self.settings.roles())[1:]

    @property
    def table(self) -> str:
        """Of the engine: the key, and as `columns` the attributes as text, an empty cell as null; `read` fills it."""
        return f"attributes_by_{self.key}"

    @property
    def columns(self) -> list[str]:
        """Names of the attributes to the engine: their own may be any, also those of other columns."""
        return [f"attribute_{i}" for i in range(len(self.attributes))]

    def read(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Reads the file into `table`.

        Raises:
            LogError: a line is malformed, an id is empty, or an id occurs twice.
        """
        roles = dict(zip([self.key, *self.columns], self.settings.roles().values(), strict=True))
        create_rows(connection, roles, "table_rows")
        read_rows(connection, self.source, roles, "table_rows")
        self._check_rows(connection)
        texts = "".join(f", nullif({name}, '') AS {name}" for name in self.columns)
        connection.execute(f"CREATE TABLE {self.table} AS SELECT {self.key}{texts} FROM table_rows")
        connection.execute("DROP TABLE table_rows")

    def _check_rows(self, connection: duckdb.DuckDBPyConnection) -> None:
        section = self.settings.section
        fault = first(
            connection,
            f"""SELECT row, coalesce(reason, 'empty id') FROM table_rows
            WHERE reason IS NOT NULL OR coalesce({self.key}, '') = '' ORDER BY row LIMIT 1""",
        )
        if fault:
            raise LogError(
                f"row {fault[0]}: {fault[1]}", where=self.source.name, do=f"repair the row, or set `{section}.header`"
            )
        twice = first(
            connection,
            f"""SELECT {self.key}, list(row ORDER BY row), count(*) OVER () FROM table_rows
            GROUP BY {self.key} HAVING count(*) > 1 ORDER BY min(row) LIMIT 1""",
        )
        if twice:
            name, rows, count = twice
            raise LogError(
                f"{count:,} ids occur more than once",
                where=f"{self.source.name}, column `{self.settings.roles()[self.key]}`",
                first=f"{name!r} in rows {', '.join(map(str, rows[:5]))}",
                do=f"keep one row {'an item' if self.key == 'item_id' else 'a user'}",
            )


def attribute_tables(settings: LogSettings) -> list[AttributeTable]:
    """The tables that the settings name, those of items first.

    Raises:
        ColumnError: a column is missing.
        LogError: a file is missing, or its head cannot be read.
    """
    found = []
    for table in (settings.items, settings.users):
        if table is not None:
            source = table_source(settings, table)
            check_columns(source, table.roles(), table.fields())
            found.append(AttributeTable(source, table))
    return found
