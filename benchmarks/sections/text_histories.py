"""Histories as text."""

from __future__ import annotations

from typing import Any

from sections.common import cells, protocol

FILES = "text-histories.json"
TITLE = "Histories as text"
ABOUT = """Pretrained models, frozen, with LoRA, on the first users of Amazon Beauty: what they read (item vectors or
titles) and what their output is scored against (vectors by id, of title text, or both). SmolLM2 is a decoder of 135 M
parameters, of whose 30 blocks 8 are kept; MiniLM an encoder of 22.7 M. Equally many epochs, few as they are; 95 %
intervals over users in brackets.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a model and a baseline."""
    rows = figures["rows"]
    first = next(iter(rows.values()))["test"]
    lines = [protocol(first), "| | HR@10 | NDCG@10 | training |", "|---" * 4 + "|"]
    for name, row in rows.items():
        training = row["training"]
        spent = f"{training['epochs']} epochs, {training['training_seconds'] / 60:.1f} min"
        lines.append(f"| {name} | {cells(row['test'], 'model')} | {spent} |")
    return lines + [f"| {name} | {cells(first, name)} | none |" for name in first["baselines"]]
