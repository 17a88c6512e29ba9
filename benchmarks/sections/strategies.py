"""Strategies beside one process."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "strategies.json"
TITLE = "Losses under each strategy"
ABOUT = """The demo's recipe in float32 with dropout off, four slots a step: on two processes under each strategy,
beside one process. `lora` is on a frozen backbone; item table and adapter are trained.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row for each strategy and kind of fine-tuning."""
    names = ("trained", "strategy", "steps", "first loss", "last loss", "largest difference")
    return table([{name: row[name] for name in names} for row in figures["rows"]])
