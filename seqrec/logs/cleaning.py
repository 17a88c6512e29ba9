"""Minimum counts of users and items."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from seqrec.errors import LogError
from seqrec.logs.settings import CleanSettings
from seqrec.logs.sql import one


@dataclass(frozen=True)
class Cleaning:
    """What cleaning left out.

    Attributes:
        dropped: events left out, by rule.
        rounds: passes over both rules until nothing changed, the last one not counted.
    """

    dropped: dict[str, int]
    rounds: int


def clean(connection: duckdb.DuckDBPyConnection, settings: CleanSettings) -> Cleaning:
    """Deletes from `events` what rare users and items did, until every user and item left has its minimum.

    One pass is not enough: a user that loses rare items may fall below the minimum itself. What is left is the largest
    set of events in which both minimums hold (a k-core), whatever the order of the passes.

    Raises:
        LogError: no event is left.
    """
    rules = {
        "min_item_events": ("item", settings.min_item_events),
        "min_user_events": ("user", settings.min_user_events),
    }
    dropped = {rule: 0 for rule, (_, minimum) in rules.items() if minimum > 1}
    rounds = 0
    while changed := {rule: _drop(connection, *rules[rule]) for rule in dropped}:
        if not any(changed.values()):
            break
        rounds += 1
        dropped = {rule: count + changed[rule] for rule, count in dropped.items()}
    if one(connection, "SELECT count(*) FROM events")[0] == 0:
        raise LogError(
            "no event is left after cleaning",
            dropped=", ".join(f"{rule} {count:,}" for rule, count in dropped.items()),
            do="lower `logs.clean.min_user_events` or `logs.clean.min_item_events`",
        )
    return Cleaning(dropped, rounds)


def _drop(connection: duckdb.DuckDBPyConnection, column: str, minimum: int) -> int:
    rare = f'SELECT "{column}" FROM events GROUP BY 1 HAVING count(*) < {minimum}'
    return int(one(connection, f'DELETE FROM events WHERE "{column}" IN ({rare})')[0])
