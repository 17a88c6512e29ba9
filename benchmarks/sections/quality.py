"""Recommendation quality: one recipe, model by seed beside the baselines."""

from __future__ import annotations

from typing import Any

from sections.common import cells, protocol

FILES = "quality-*.json"
TITLE = "Quality: {rest}"
ABOUT = """Test metrics of the checkpoint that was best on validation; every item ranked; 95 % intervals over users in
brackets. The baselines have the same users, histories and filters. Minutes of training are on the machine below,
validation included.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a seed and a baseline."""
    lines = [protocol(figures["seeds"][0]["test"])]
    lines += ["| | HR@10 | NDCG@10 | epochs | training |", "|---|---|---|---|---|"]
    for seed in figures["seeds"]:
        test, training = seed["test"], seed["training"]
        spent = f"{training['epochs']} | {training['training_seconds'] / 60:.1f} min"
        lines.append(f"| model, seed {seed['seed']} | {cells(test, 'model')} | {spent} |")
    if len(figures["seeds"]) > 1:
        mean = figures["mean_test"]
        lines.append(
            f"| **mean of {len(figures['seeds'])} seeds** | **{mean['hr@10']:.4f}** | **{mean['ndcg@10']:.4f}** | | |"
        )
    test = figures["seeds"][0]["test"]
    return lines + [f"| {name} | {cells(test, name)} | | |" for name in test["baselines"]]
