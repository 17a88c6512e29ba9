"""Two processes beside two threads."""

from __future__ import annotations

from typing import Any

from sections.common import number, table
from sections.peers import LOSSES

FILES = "ranks-speed.json"
TITLE = "Two processes beside two threads"
ABOUT = """Events a second of two processes of one thread (DDP) beside one process of two threads, on the same two
cores: Amazon Beauty, one block of width 64. Of each run the best epoch but the first; rounds in turn, and the median
of their ratios. Ranks average a gradient of 3.2 MB a step, in shared memory, and wait for the slowest, whatever the
step's size, so small steps with a cheap loss pay most. Two processes apart train each for itself in steps of half the
size: what both cores do when nothing is told and each updates all parameters. It says what ranks cost on one machine,
not on a network.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a loss."""
    rows = []
    for found in figures["rows"]:
        rates = {way: " · ".join(map(number, of)) for way, of in found["events_per_second"].items()}
        head = {"loss": LOSSES[found["loss"]], "events a step": number(found["step_tokens"])}
        ratios = {
            "processes / threads": found["two_processes_over_two_threads"],
            "apart / threads": found["two_processes_apart_over_two_threads"],
        }
        rows.append(head | rates | ratios)
    ms = figures["averaging_ms"]
    averaging = f"Averaging {number(figures['parameters'])} float32 alone takes {ms['shared memory']} ms in shared"
    return [*table(rows), "", averaging, f"memory and {ms['gloo']} ms through gloo."]
