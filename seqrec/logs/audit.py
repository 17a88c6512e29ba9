"""What a reader should know of a log before a model is trained on it."""

from __future__ import annotations

from typing import Any

import duckdb

from seqrec.logs.attributes import AttributeTable
from seqrec.logs.sql import one

_LENGTH_PERCENTILES = (0, 1, 5, 25, 50, 75, 95, 99, 100)


def audit_log(
    connection: duckdb.DuckDBPyConnection, roles: list[str], actions: list[str], tables: list[AttributeTable]
) -> dict[str, Any]:
    """Figures of the tables that `index` made: counts, lengths, ties, repeats, actions, times, attribute coverage.

    Shares of neighbours are of pairs of successive events of one user, shares of users are of those with two events or
    more; null where there are none.
    """
    users, items, events = (
        one(connection, f"SELECT count(*) FROM {name}")[0] for name in ("users", "catalogue", "sequence")
    )
    return {
        "users": users,
        "items": items,
        "events": events,
        "sequence_lengths": _lengths(connection),
        **_neighbours(connection, with_time="time" in roles),
        "share_of_users_whose_last_item_repeats_an_earlier": _last_repeats(connection),
        "events_by_action": _by_action(connection, actions),
        "times": _times(connection) if "time" in roles else None,
        "attributes": _coverage(connection, tables) if tables else None,
    }


def _lengths(connection: duckdb.DuckDBPyConnection) -> dict[str, float]:
    shares = [percent / 100 for percent in _LENGTH_PERCENTILES]
    mean, percentiles = one(connection, f"SELECT avg(length), quantile_disc(length, {shares}) FROM users")
    return {"mean": mean} | {
        f"p{percent}": value for percent, value in zip(_LENGTH_PERCENTILES, percentiles, strict=True)
    }


def _neighbours(connection: duckdb.DuckDBPyConnection, with_time: bool) -> dict[str, float | None]:
    time = "time" if with_time else "NULL::BIGINT"
    # an empty OVER () follows the table, which lies in sequence order, without sorting it again
    ties, backwards, repeats = one(
        connection,
        f"""SELECT avg((time = before)::INT), avg((time < before)::INT), avg((item = item_before)::INT)
        FROM (
            SELECT user, lag(user) OVER () AS user_before, item, lag(item) OVER () AS item_before,
                {time} AS time, lag({time}) OVER () AS before
            FROM sequence)
        WHERE user = user_before""",
    )
    return {
        "share_of_neighbours_tied_in_time": ties,
        "share_of_neighbours_that_go_back_in_time": backwards,  # possible where `order` gives the order
        "share_of_neighbours_that_repeat_the_item": repeats,
    }


def _last_repeats(connection: duckdb.DuckDBPyConnection) -> float | None:
    (share,) = one(
        connection,
        """SELECT avg((times > 1)::INT) FROM (
            SELECT sequence.user, count(*) AS times FROM sequence
            JOIN (SELECT user, last(item) AS item FROM sequence GROUP BY user HAVING count(*) > 1) AS ends
            ON sequence.user = ends.user AND sequence.item = ends.item GROUP BY 1)""",
    )
    return None if share is None else float(share)


def _by_action(connection: duckdb.DuckDBPyConnection, actions: list[str]) -> dict[str, int]:
    if not actions:
        return {}
    counts = connection.execute("SELECT action, count(*) FROM sequence GROUP BY 1 ORDER BY 2 DESC, 1").fetchall()
    return {actions[code]: count for code, count in counts}


def _times(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    first, last = one(
        connection,
        """SELECT strftime(make_timestamp(min(time)), '%Y-%m-%dT%H:%M:%S.%fZ'),
            strftime(make_timestamp(max(time)), '%Y-%m-%dT%H:%M:%S.%fZ') FROM sequence""",
    )
    return {"first": first, "last": last}


def _coverage(connection: duckdb.DuckDBPyConnection, tables: list[AttributeTable]) -> dict[str, int]:
    met = {"item_id": "(SELECT item_id FROM catalogue WHERE count > 0)", "user_id": "(SELECT user_id FROM users)"}
    found = {}
    for table in tables:
        missing, unused = one(
            connection,
            f"""SELECT (SELECT count(*) FROM {met[table.key]} ANTI JOIN {table.table} USING ({table.key})),
                (SELECT count(*) FROM {table.table} ANTI JOIN {met[table.key]} USING ({table.key}))""",
        )
        items = table.key == "item_id"
        found["items_of_the_log_without_attributes" if items else "users_without_attributes"] = missing
        found["attribute_rows_without_events" if items else "user_attribute_rows_without_events"] = unused
    return found
