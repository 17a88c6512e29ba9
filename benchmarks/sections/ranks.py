"""One process beside two."""

from __future__ import annotations

from typing import Any

from sections.common import conditions

FILES = "ranks.json"


def section(name: str, figures: dict[str, Any]) -> str:
    """Losses and evaluation."""
    first, last = figures["first_and_last_loss"]
    same = "the same to the last digit" if figures["evaluations_identical"] else "NOT the same"
    lines = [
        "## One process and two\n",
        conditions(figures),
        f"The demo's recipe in float64 with dropout on, {figures['steps']} steps in which the loss goes from",
        f"{first:.3f} to {last:.3f}: the losses on one and on two processes differ by",
        f"{figures['largest_loss_difference']:.1e} at most. The evaluation of one checkpoint is {same}.",
    ]
    return "\n".join(lines) + "\n"
