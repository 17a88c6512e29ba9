"""Strategies beside one process."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "strategies.json"
TITLE = "Losses under each strategy"
ABOUT = """The demo's recipe in float32 with dropout off, four slots a step: on two processes under each strategy,
beside one process. Adapters are on a frozen backbone, `oft` on Llama's blocks; item table and adapter are trained. Then
an epoch of each: NDCG@10 of the validation in training, of the checkpoint that it left, and of the one safetensors file
that `seqrec consolidate` made of it; each was exported, and a fresh process gave the same scores.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row for each strategy and kind of fine-tuning."""
    names = ("trained", "strategy", "steps", "first loss", "last loss", "largest difference")
    metrics = ("ndcg@10 in training", "of the checkpoint", "of the consolidated file")
    return table(
        [
            {name: row[name] for name in names} | {name: f"{row[name]:.6f}" for name in metrics if name in row}
            for row in figures["rows"]
        ]
    )
