"""Any other result: its single figures in a line, its rows as a table."""

from __future__ import annotations

from typing import Any

from sections.common import conditions, number, table

FILES = "*.json"
SAID_ABOVE = ("date", "machine", "versions", "title", "about", "rows")


def section(name: str, figures: dict[str, Any]) -> str:
    """`title`, `about` and `rows` of flat mappings are shown where a result has them."""
    lines = [f"## {figures.get('title', name)}\n"]
    if "about" in figures:
        lines.append(figures["about"] + "\n")
    lines.append(conditions(figures))
    single = flat({key: value for key, value in figures.items() if key not in SAID_ABOVE})
    if single:
        lines.append(", ".join(f"{key} {number(value)}" for key, value in single.items()) + ".\n")
    rows = [flat(row) for row in figures.get("rows", [])]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if rows:
        lines += table([{key: row.get(key) for key in keys} for row in rows])
    return "\n".join(lines) + "\n"


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Without what does not fit a cell."""
    return {key: value for key, value in row.items() if not isinstance(value, dict | list)}
