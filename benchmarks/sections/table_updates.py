"""Updating all rows of the item table, or those that a step touches."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "table-updates.json"
TITLE = "Updates of the item table"
ABOUT = """A training step, forward, backward and optimiser, on one thread: `optimizer.table_updates` `all` beside
`rows`, in turn, the best of rounds. Random sequences, one GPT-2 block, uniform negatives. The two are not the same
optimiser: [losses](losses.md#only-the-rows-that-a-step-touches).
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a catalogue."""
    said = ", ".join(f"{key} {value}" for key, value in figures["shape"].items())
    rows = [
        {
            "items": int(items),
            "all rows, ms": row["all"],
            "touched rows, ms": row["rows"],
            "× as long": row["all_over_rows"],
        }
        for items, row in figures["milliseconds"].items()
    ]
    return [f"{said.capitalize()}.\n", *table(rows)]
