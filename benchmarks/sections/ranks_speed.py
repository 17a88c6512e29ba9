"""Two processes beside two threads."""

from __future__ import annotations

from typing import Any

from sections.common import number, table
from sections.peers import LOSSES

FILES = "ranks-speed.json"
TITLE = "Two processes beside two threads"
ABOUT = """Events a second of two processes of one thread (DDP) beside one process of two threads, on the same two
cores: Amazon Beauty, one block of width 64, steps of 4,096 events. Of each run the best epoch but the first; rounds in
turn, and the median of their ratios. It says what ranks cost on one machine, not what a network costs.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a loss."""
    rows = []
    for loss in (loss for loss in LOSSES if loss in figures):
        found = figures[loss]
        rates = {way: " · ".join(map(number, of)) for way, of in found["events_per_second"].items()}
        rows.append({"loss": LOSSES[loss]} | rates | {"processes / threads": found["two_processes_over_two_threads"]})
    return table(rows)
