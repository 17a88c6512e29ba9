"""Typed events → indexed, ordered sequences and the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa

from seqrec.logs.attributes import AttributeTable
from seqrec.logs.sql import identifier, literals, one
from seqrec.store import UNIT_ROWS
from seqrec.store.writer import sequence_schema

_PERCENTILES = ", ".join(f"{percent / 100:.2f}" for percent in range(101))


def index(
    connection: duckdb.DuckDBPyConnection, roles: list[str], actions: list[str], *, all_items: bool = False
) -> None:
    """Numbers users and items and puts the events in order: tables `users`, `catalogue` and `sequence`.

    Users are numbered 0.. by user_id, items 1..N by falling count, then by item_id (both in byte order), so that the
    numbers do not depend on the order of rows in the log, and popular items share the front of every item table. With
    ``all_items`` those of the table of item attributes that no event has stand behind the others.

    `sequence` lies in the order user, then `order` or else time, then position in the source. Its columns: `user`
    int64, `item` int32, and where the log has them `time`, `action` (int8 code), `value`, `context_i`.
    """
    time = (
        ", min(time) AS first_seen, max(time) AS last_seen"
        if "time" in roles
        else (", NULL::BIGINT AS first_seen, NULL::BIGINT AS last_seen")
    )
    others = (
        """ UNION ALL SELECT item_id, 0, NULL::BIGINT, NULL::BIGINT
        FROM attributes_by_item_id AS attributes ANTI JOIN events ON attributes.item_id = events.item"""
        if all_items
        else ""
    )
    connection.execute(
        f"""CREATE TABLE catalogue AS
        SELECT (row_number() OVER (ORDER BY count DESC, item_id))::INTEGER AS item, *
        FROM (SELECT item AS item_id, count(*) AS count{time} FROM events GROUP BY 1{others})"""
    )
    connection.execute(
        """CREATE TABLE users AS
        SELECT row_number() OVER (ORDER BY user_id) - 1 AS user, user_id, length
        FROM (SELECT "user" AS user_id, count(*) AS length FROM events GROUP BY 1) ORDER BY user"""
    )
    code = f"(list_position({literals(actions)}, action) - 1)::TINYINT AS action"
    columns = [code if role == "action" else identifier(role) for role in _event_roles(roles)]
    order = '"order", ' if "order" in roles else "time, " if "time" in roles else ""
    connection.execute(
        f"""CREATE TABLE sequence AS
        SELECT {", ".join(["users.user", "catalogue.item", *columns])}
        FROM events JOIN users ON users.user_id = events.user JOIN catalogue ON catalogue.item_id = events.item
        ORDER BY users.user, {order}file, row, pos"""
    )


def catalogue_table(connection: duckdb.DuckDBPyConnection, attributes: AttributeTable | None) -> pa.Table:
    """The catalogue: `item`, `item_id`, `count`, `first_seen`, `last_seen` (microseconds), then the attributes."""
    texts, join = _joined(attributes)
    query = f"SELECT item, item_id, count, first_seen, last_seen{texts} FROM catalogue {join} ORDER BY item"
    # one chunk, since Parquet's pages follow chunks, the engine's chunks follow its threads, and the file is hashed
    return _with_names(connection.sql(query).to_arrow_table().combine_chunks(), attributes)


def unit_tables(
    connection: duckdb.DuckDBPyConnection, roles: list[str], context: list[str], attributes: AttributeTable | None
) -> Iterator[pa.Table]:
    """The sequences, `UNIT_ROWS` users at a time, as tables of `sequence_schema`, with the attributes of the users.

    `sequence` is sorted by user, so that each range of users is read from a few of its blocks only.
    """
    texts, join = _joined(attributes)
    (users,) = one(connection, "SELECT count(*) FROM users")
    for first in range(0, users, UNIT_ROWS):
        rows = f"BETWEEN {first} AND {first + UNIT_ROWS - 1}"
        query = f"SELECT user_id, length{texts} FROM users {join} WHERE user {rows} ORDER BY user"
        owners = _with_names(connection.sql(query).to_arrow_table(), attributes)
        events = connection.sql(f"SELECT * FROM sequence WHERE user {rows}").to_arrow_table()
        yield _unit(owners, events, roles, context)


def time_percentiles(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """The 0th..100th percentile of event time, each the time of an event, in microseconds."""
    (percentiles,) = one(connection, f"SELECT quantile_disc(time, [{_PERCENTILES}]) FROM sequence")
    return list(percentiles)


def _joined(attributes: AttributeTable | None) -> tuple[str, str]:
    """SQL of the attributes, as further columns, and of the join that has them."""
    if attributes is None or not attributes.attributes:
        return "", ""
    texts = "".join(f", {name}" for name in attributes.columns)
    return texts, f"LEFT JOIN {attributes.table} USING ({attributes.key})"


def _with_names(table: pa.Table, attributes: AttributeTable | None) -> pa.Table:
    """With the attributes, which are its last columns, under their own names."""
    names = [] if attributes is None else attributes.attributes
    return table.rename_columns([*table.column_names[: table.num_columns - len(names)], *names])


def _event_roles(roles: list[str]) -> list[str]:
    return [role for role in roles if role not in ("user", "item", "order")]


def _unit(owners: pa.Table, events: pa.Table, roles: list[str], context: list[str]) -> pa.Table:
    attributes = [name for name in owners.column_names if name not in ("user_id", "length")]
    schema = sequence_schema(context, attributes)
    offsets = pa.array(np.concatenate([[0], np.cumsum(owners.column("length").to_numpy())]), pa.int32())
    parts = {"items": "item", "timestamps": "time", "actions": "action", "values": "value"}
    parts |= {name: f"context_{i}" for i, name in enumerate(context)}

    def lists(name: str) -> pa.Array:
        kind = schema.field(name).type
        if parts[name] not in events.column_names:
            return pa.nulls(owners.num_rows, kind)
        flat = events.column(parts[name]).combine_chunks().cast(kind.value_type)
        return pa.ListArray.from_arrays(offsets, flat, type=kind)

    def texts(name: str) -> pa.Array:
        return owners.column(name).combine_chunks().cast(pa.string())

    columns = [lists(name) if name in parts else texts(name) for name in schema.names]
    return pa.Table.from_arrays(columns, schema=schema)
