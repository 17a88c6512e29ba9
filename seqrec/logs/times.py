"""Times of a log: which unit they are in, and how they become microseconds since 1970 UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import duckdb

from seqrec.errors import TimestampError
from seqrec.logs.settings import TimeUnit
from seqrec.logs.sql import first, one

_US_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}
_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "iso": "ISO 8601"}
_PLAUSIBLE_FROM = datetime(1990, 1, 1, tzinfo=UTC)
_PLAUSIBLE_YEARS_AHEAD = 10
_MAX_SHARE_IMPLAUSIBLE = 0.9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(column: str, unit: TimeUnit) -> str:
    """SQL for a text column as int64 microseconds since 1970 UTC; null where it is no time in this unit.

    Numbers may have a fraction and an exponent and are read exactly, as decimals: 1e9 seconds in float32 would be a
    minute off. ISO texts may lack the time of day (midnight) and the zone (UTC); digits below microseconds are cut.
    """
    if unit == "iso":
        return f"epoch_us(try_cast({column} AS TIMESTAMPTZ))"
    return f"try_cast(floor({_number(column)} * {_US_PER_UNIT[unit]}) AS BIGINT)"


@dataclass(frozen=True)
class TimeColumn:
    """The time column over all files of a log, as text.

    Attributes:
        table: table with `file`, `row`, `pos` and the text column `time`.
        files: names of the files, by `file`.
        column: name of the column in the log, for messages.
    """

    connection: duckdb.DuckDBPyConnection
    table: str
    files: list[str]
    column: str

    def unit(self, told: Literal["auto", "s", "ms", "us", "iso"]) -> TimeUnit:
        """The unit to read the column in.

        auto is iso where more values read as ISO 8601 than as numbers; else the median magnitude decides: below 1e11
        seconds (the year 5138; in milliseconds 1973), below 1e14 milliseconds, else microseconds.

        Raises:
            TimestampError: read so, 90 % or more of the times fall outside 1990 .. ten years from now.
        """
        unit = self._guess() if told == "auto" else told
        plausible, parsed = self._plausible(unit)
        if parsed and parsed - plausible >= _MAX_SHARE_IMPLAUSIBLE * parsed:
            raise self._error(unit, parsed - plausible)
        if not parsed and (count := self._count()) and told != "auto" and self._plausible(self._guess())[1] > count / 2:
            raise self._error(unit, count)
        return unit

    def _guess(self) -> TimeUnit:
        numbers, texts, median = one(
            self.connection,
            f"""SELECT count({_number("time")}), count(try_cast(time AS TIMESTAMPTZ)),
                quantile_disc(abs({_number("time")}), 0.5) FROM {self.table}""",
        )
        if texts > numbers or median is None:
            return "iso"
        return "s" if median < 1e11 else "ms" if median < 1e14 else "us"

    def _count(self) -> int:
        return int(one(self.connection, f"SELECT count(time) FROM {self.table}")[0])

    def _plausible(self, unit: TimeUnit) -> tuple[int, int]:
        """How many values fall in the plausible years, and how many can be read at all."""
        until = datetime(datetime.now(UTC).year + _PLAUSIBLE_YEARS_AHEAD, 1, 1, tzinfo=UTC)
        low, high = (int(bound.timestamp()) * 1_000_000 for bound in (_PLAUSIBLE_FROM, until))
        plausible, parsed = one(
            self.connection,
            f"""SELECT count(*) FILTER (us BETWEEN {low} AND {high}), count(us)
                FROM (SELECT {microseconds("time", unit)} AS us FROM {self.table})""",
        )
        return plausible, parsed

    def _error(self, unit: TimeUnit, wrong: int) -> TimestampError:
        fits = max(get_args(TimeUnit), key=lambda other: self._plausible(other)[0])
        fitting = self._plausible(fits)[0] > self._count() / 2
        file, row, text, as_told, as_fits = one(
            self.connection,
            f"""SELECT file, row, time, {microseconds("time", unit)}, {microseconds("time", fits)} FROM {self.table}
                WHERE time IS NOT NULL ORDER BY {microseconds("time", fits)} IS NULL, file, row, pos LIMIT 1""",
        )
        sample = f"row {row} holds {text}, read as {_read(as_told)}"
        facts = {"first": sample + (f"; as {_UNIT_NAMES[fits]} it is {_read(as_fits)}" if fitting else "")}
        if also := self._unreadable(fits if fitting else unit):
            facts["also"] = also
        do = f"set `logs.time_unit: {fits}`; rows whose time does not parse are listed in `rejected.parquet`"
        if not fitting:
            do = (
                f"if `{self.column}` only counts, set `logs.columns.time: null` and `logs.columns.order: {self.column}`"
            )
        years = f"{_PLAUSIBLE_FROM.year}..{datetime.now(UTC).year + _PLAUSIBLE_YEARS_AHEAD}"
        return TimestampError(
            f"{wrong:,} of {self._count():,} values fall outside {years} when read as {_UNIT_NAMES[unit]}",
            where=f"{self.files[file]}, column `{self.column}`",
            do=do,
            **facts,
        )

    def _unreadable(self, unit: TimeUnit) -> str | None:
        row = first(
            self.connection,
            f"""SELECT count(*) OVER (), row, time FROM {self.table}
                WHERE time IS NOT NULL AND {microseconds("time", unit)} IS NULL ORDER BY file, row, pos LIMIT 1""",
        )
        if row is None:
            return None
        what = "ISO 8601 times" if unit == "iso" else "numbers"
        return f"{row[0]:,} values are not {what}, the first in row {row[1]}: {row[2]!r}"


def _number(column: str) -> str:
    return f"try_cast({column} AS DECIMAL(28, 6))"


def _read(us: int | None) -> str:
    if us is None:
        return "no time"
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"the year {1970 + us // 31_556_952_000_000}"
