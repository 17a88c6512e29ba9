"""Any other result: its single figures in a line, its rows as a table."""

from __future__ import annotations

from typing import Any

from sections.common import number, table

FILES = "*.json"
TITLE = "{stem}"
ABOUT = ""
SAID_ABOVE = ("date", "machine", "versions", "rows")


def body(figures: dict[str, Any]) -> list[str]:
    """Flat figures and rows of flat mappings; what is deeper needs a section of its own."""
    single = flat({key: value for key, value in figures.items() if key not in SAID_ABOVE})
    lines = [", ".join(f"{key} {number(value)}" for key, value in single.items()) + ".\n"] if single else []
    rows = [flat(row) for row in figures.get("rows", [])]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return lines + table([{key: row.get(key) for key in keys} for row in rows])


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Without what does not fit a cell."""
    return {key: value for key, value in row.items() if not isinstance(value, dict | list)}
