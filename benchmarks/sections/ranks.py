"""One process beside two."""

from __future__ import annotations

from typing import Any

FILES = "ranks.json"
TITLE = "Losses and evaluation on one process and two"
ABOUT = """The demo's recipe in float64 with dropout on, then the evaluation of one checkpoint on one process and on
two.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A sentence on losses and one on metrics."""
    first, last = figures["first_and_last_loss"]
    same = "the same to the last digit" if figures["evaluations_identical"] else "NOT the same"
    return [
        f"In {figures['steps']} steps the loss goes from {first:.3f} to {last:.3f};",
        f"on one and on two processes it differs by {figures['largest_loss_difference']:.1e} at most.",
        f"The evaluations are {same}.",
    ]
