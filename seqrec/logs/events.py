"""From raw text rows to typed events; rows that cannot be one are set aside with the reason."""

from __future__ import annotations

import duckdb

from seqrec.errors import LogError
from seqrec.logs.readers import create_rows, read_rows
from seqrec.logs.settings import LogSettings, TimeUnit
from seqrec.logs.sources import Source
from seqrec.logs.sql import identifier, literal, one
from seqrec.logs.times import TimeColumn, microseconds

_MAX_ACTIONS = 128  # codes are int8
_MAX_SHARE_REJECTED = 0.5


def used_roles(settings: LogSettings, source: Source) -> dict[str, str]:
    """Role → column for one file; a file of sequences has users and items only."""
    roles = settings.columns.roles()
    return {role: roles[role] for role in ("user", "item")} if source.format == "sequences" else roles


def role_settings(settings: LogSettings) -> dict[str, str]:
    """Role → the setting that names its column."""
    names = settings.columns.roles()
    return {role: f"logs.columns.{'context' if role.startswith('context_') else role}" for role in names}


def stage(connection: duckdb.DuckDBPyConnection, settings: LogSettings, sources: list[Source]) -> list[str]:
    """Reads all files into the table `raw`: `file`, `row`, `pos`, a text column a role, `reason`, `raw`.

    Returns:
        The roles that the table has.
    Raises:
        LogError: a file cannot be read, or files of sequences are mixed with others.
    """
    if len({source.format == "sequences" for source in sources}) > 1:
        raise LogError("files of sequences cannot be mixed with event logs", do="prepare them apart")
    roles = used_roles(settings, sources[0])
    create_rows(connection, roles, "raw")
    for number, source in enumerate(sources):
        read_rows(connection, source, roles, "raw", number)
    return list(roles)


def time_unit(
    connection: duckdb.DuckDBPyConnection, settings: LogSettings, sources: list[Source], roles: list[str]
) -> TimeUnit | None:
    """The unit of the log's times; None where it has none.

    Raises:
        TimestampError: see `TimeColumn.unit`.
    """
    if "time" not in roles:
        return None
    names = [source.name for source in sources]
    assert settings.columns.time is not None
    return TimeColumn(connection, "raw", names, settings.columns.time).unit(settings.time_unit)


def classify(
    connection: duckdb.DuckDBPyConnection, sources: list[Source], roles: list[str], unit: TimeUnit | None
) -> None:
    """Splits `raw` into the tables `events` and `rejected`, and drops it.

    `events`: `file` int32, `row` int64, `pos` int32, `user`, `item` text, and where the log has them `time` int64
    microseconds, `action` text, `value` float32, `order` decimal, `context_i` text. `rejected`: `file` (name), `row`,
    `reason`, `raw` (the line, or the columns read as a JSON object).

    Raises:
        LogError: more than half of the rows are rejected.
    """
    cast = {"value": 'try_cast("value" AS FLOAT)', "order": 'try_cast("order" AS DECIMAL(38, 6))'}
    if unit is not None:
        cast["time"] = microseconds('"time"', unit)
    texts = ", ".join(f"{identifier(role)} AS {identifier('text_' + role)}" for role in roles)
    typed = ", ".join(f"{cast.get(role, identifier(role))} AS {identifier(role)}" for role in roles)
    row_json = ", ".join(f"{literal(role)}, {identifier('text_' + role)}" for role in roles)
    kept = ", ".join(["file", "row", "pos", *map(identifier, roles)])
    # in one pass: the log is cast once, and the text of a row goes on only where the row is refused
    connection.execute(
        f"""CREATE TABLE events AS
        SELECT {kept}, reason,
            CASE WHEN reason IS NOT NULL THEN coalesce(raw, json_object({row_json})::VARCHAR) END AS raw
        FROM (
            SELECT * REPLACE (coalesce(reason, {_reason(roles)}) AS reason)
            FROM (SELECT file, row, pos, reason, raw, {texts}, {typed} FROM raw))"""
    )
    connection.execute("DROP TABLE raw")
    connection.execute("CREATE TABLE files (file INTEGER, name VARCHAR)")
    connection.executemany("INSERT INTO files VALUES (?, ?)", [[i, source.name] for i, source in enumerate(sources)])
    connection.execute(
        """CREATE TABLE rejected AS
        SELECT files.name AS file, row, reason, raw FROM events JOIN files USING (file)
        WHERE reason IS NOT NULL ORDER BY events.file, row, pos"""
    )
    connection.execute("DELETE FROM events WHERE reason IS NOT NULL")
    _refuse_mostly_rejected(connection, sources)


def rejected_by_reason(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Rejected rows by reason, by falling count."""
    return dict(connection.execute("SELECT reason, count(*) FROM rejected GROUP BY 1 ORDER BY 2 DESC, 1").fetchall())


def action_names(connection: duckdb.DuckDBPyConnection, column: str) -> list[str]:
    """The distinct actions, sorted; their places are the codes of a store.

    Raises:
        LogError: there are more than 128.
    """
    names = [name for (name,) in connection.execute("SELECT DISTINCT action FROM events ORDER BY 1").fetchall()]
    if len(names) > _MAX_ACTIONS:
        raise LogError(
            f"{len(names):,} distinct actions, at most {_MAX_ACTIONS} are possible",
            where=f"column `{column}`",
            first=", ".join(map(repr, names[:3])),
            do="set `logs.columns.action` to the column of the event type, or keep this one in `logs.columns.context`",
        )
    return names


def _reason(roles: list[str]) -> str:
    """SQL for why a row is refused, null where it is an event."""
    faults = {role: f"trim(coalesce({identifier(role)}, '')) = ''" for role in ("user", "item", "action")}
    faults |= {role: f"{identifier(role)} IS NULL" for role in ("time", "order")}
    # an empty value is a missing one (a view has no price); anything else must be a finite number
    faults["value"] = "trim(coalesce(text_value, '')) <> '' AND NOT coalesce(isfinite(value), false)"
    names = {role: f"empty {role}" if role in ("user", "item", "action") else f"bad {role}" for role in faults}
    cases = [f"WHEN {fault} THEN {literal(names[role])}" for role, fault in faults.items() if role in roles]
    return f"CASE {' '.join(cases)} END"


def _refuse_mostly_rejected(connection: duckdb.DuckDBPyConnection, sources: list[Source]) -> None:
    (events,) = one(connection, "SELECT count(*) FROM events")
    reasons = rejected_by_reason(connection)
    rejected = sum(reasons.values())
    if rejected > _MAX_SHARE_REJECTED * (rejected + events):
        file, row, reason, raw = one(connection, "SELECT * FROM rejected LIMIT 1")
        raise LogError(
            f"{rejected:,} of {rejected + events:,} rows are rejected",
            where=sources[0].name if len(sources) == 1 else f"{len(sources)} files",
            reasons=", ".join(f"{name} {count:,}" for name, count in reasons.items()),
            first=f"{file}, row {row} ({reason}): {raw[:200]}",
            do="correct `logs.columns`, `logs.format`, `logs.header` or `logs.time_unit`",
        )
    if not events:
        raise LogError("no events", where=", ".join(source.name for source in sources[:3]), do="check `logs.sources`")
