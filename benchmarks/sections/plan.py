"""What a plan predicts beside what training takes."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "plan.json"
TITLE = "Memory that a plan predicts"
ABOUT = """`seqrec plan` beside the peak of a training on the CPU: MiB of the rank that takes most, above what it had
before it built anything. The strategies' rules were found with the recipes named calibration, with no others.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a recipe, those that nothing was set by first."""
    rows = sorted(figures["rows"], key=lambda row: row["calibrates"])
    names = ("recipe", "strategy", "ranks", "predicted", "measured")
    return table([{name: row[name] for name in names} | {"error": f"{row['error']:+.1%}"} for row in rows])
