"""What saving costs."""

from __future__ import annotations

from typing import Any

from sections.common import number, table

FILES = "saving.json"
TITLE = "The cost of saving"
ABOUT = """The demo's shop and a model of some millions of parameters on one process with one thread, 200 steps:
checkpoints, hashed and flushed to disk, within the epoch beside one at the end only; by turns, events a second of each
run, and the median as a part of that without.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A sentence, and a row for each way."""
    parts = figures["as_part_of_without"]
    rows = [
        {"saved": way, "events/s": " · ".join(map(number, rates)), "part": f"{parts[way]:.2f}" if way in parts else ""}
        for way, rates in figures["tokens_per_second"].items()
    ]
    return [f"A checkpoint has {figures['state_bytes'] / 1e6:.0f} MB.\n", *table(rows)]
