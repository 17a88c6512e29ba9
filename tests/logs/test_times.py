from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import duckdb
import pytest

from seqrec.errors import TimestampError
from seqrec.logs.sql import literal, one
from seqrec.logs.times import TimeColumn, microseconds

MOMENT = 1_457_963_676  # 2016-03-14T13:54:36Z


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def column(connection: duckdb.DuckDBPyConnection, texts: list[str | None]) -> TimeColumn:
    connection.execute("CREATE OR REPLACE TABLE raw (file INT, row BIGINT, pos INT, time VARCHAR)")
    connection.executemany("INSERT INTO raw VALUES (0, ?, 0, ?)", [[i, text] for i, text in enumerate(texts, start=1)])
    return TimeColumn(connection, "raw", ["events-03.csv"], "ts")


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("1457963676", "s", MOMENT * 1_000_000),
        ("1457963676.123456", "s", MOMENT * 1_000_000 + 123_456),
        ("1.457963676e9", "s", MOMENT * 1_000_000),
        ("-1.5", "s", -1_500_000),
        ("1457963676123", "ms", MOMENT * 1_000_000 + 123_000),
        ("1457963676123.5", "ms", MOMENT * 1_000_000 + 123_500),
        ("1457963676123456", "us", MOMENT * 1_000_000 + 123_456),
        ("2016-03-14T13:54:36Z", "iso", MOMENT * 1_000_000),
        ("2016-03-14T15:54:36+02:00", "iso", MOMENT * 1_000_000),
        ("2016-03-14T13:54:36.123456", "iso", MOMENT * 1_000_000 + 123_456),
        ("2016-03-14 13:54:36.1234567 UTC", "iso", MOMENT * 1_000_000 + 123_456),
        ("2016-03-14", "iso", 1_457_913_600_000_000),
        ("n/a", "s", None),
        ("", "s", None),
        ("1457963676", "iso", None),
        ("99999999999999", "s", None),  # beyond int64 microseconds
        ("9" * 40, "us", None),
    ],
)
def test_microseconds(connection: duckdb.DuckDBPyConnection, text: str, unit: Any, expected: int | None) -> None:
    assert one(connection, f"SELECT {microseconds(literal(text), unit)}") == (expected,)


@pytest.mark.parametrize(
    ("texts", "unit"),
    [
        ([str(MOMENT)], "s"),
        ([f"{MOMENT}.25", "n/a"], "s"),
        ([str(MOMENT * 1000)], "ms"),
        ([str(MOMENT * 1_000_000)], "us"),
        ([str(MOMENT), str(MOMENT), str(MOMENT * 1000)], "s"),  # the median decides
        (["2016-03-14", str(MOMENT), "2016-03-15"], "iso"),
        (["n/a", None], "iso"),  # nothing to tell from; the rows are refused one by one
    ],
)
def test_auto(connection: duckdb.DuckDBPyConnection, texts: list[str | None], unit: str) -> None:
    assert column(connection, texts).unit("auto") == unit


def test_a_wrong_unit_shows_the_first_row_in_both_units(connection: duckdb.DuckDBPyConnection) -> None:
    times = column(connection, ["n/a", "1700000000", *[str(1_700_000_000 + i) for i in range(98)], "?"])
    with pytest.raises(TimestampError) as caught:
        times.unit("ms")
    assert str(caught.value).splitlines() == [
        f"events-03.csv, column `ts`: 99 of 101 values fall outside 1990..{datetime.now(UTC).year + 10} "
        "when read as milliseconds",
        "  first: row 2 holds 1700000000, read as 1970-01-20T16:13:20Z; as seconds it is 2023-11-14T22:13:20Z",
        "  also:  2 values are not numbers, the first in row 1: 'n/a'",
        "  do:    set `logs.time_unit: s`; rows whose time does not parse are listed in `rejected.parquet`",
    ]


def test_iso_texts_read_as_numbers(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(TimestampError, match=r"(?s)2 of 2 values.*read as no time; as ISO 8601.*logs.time_unit: iso"):
        column(connection, ["2016-03-14", "2016-03-15"]).unit("s")


def test_far_off_times_have_a_readable_year(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(TimestampError, match=r"read as the year 48\d\d\d; as milliseconds it is 2016-03-14T13:54:36Z"):
        column(connection, [str(MOMENT * 1000)]).unit("s")


def test_counters_are_no_times(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(TimestampError, match=r"(?s)do: +if `ts` only counts, set `logs.columns.time: null`"):
        column(connection, ["1", "2", "3"]).unit("auto")


def test_a_few_strange_times_are_let_through(connection: duckdb.DuckDBPyConnection) -> None:
    assert column(connection, ["0"] * 8 + [str(MOMENT)] * 2).unit("s") == "s"
