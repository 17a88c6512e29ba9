"""What saving costs."""

from __future__ import annotations

from typing import Any

from sections.common import number, table

FILES = "saving.json"
TITLE = "The cost of saving"
ABOUT = """The demo's shop and a model of some millions of parameters on one process, 200 steps: a checkpoint every 50
steps, hashed and flushed to disk, beside one at the end only; by turns, events a second of each run.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A sentence, and a row for each way."""
    names = {"every null": "at the end", "every 50": "every 50 steps"}
    said = (
        f"A checkpoint has {figures['state_bytes'] / 1e6:.0f} MB; with saving "
        f"{figures['with_saving_as_part_of_without']:.2f} of the rate without.\n"
    )
    rates = figures["tokens_per_second"].items()
    return [said, *table([{"saved": names[way], "events/s": " · ".join(map(number, found))} for way, found in rates])]
