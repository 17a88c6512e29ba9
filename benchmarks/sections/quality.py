"""Recommendation quality: one recipe, model by seed beside the baselines."""

from __future__ import annotations

from typing import Any

from sections.common import cells, conditions, protocol

FILES = "quality-*.json"


def section(name: str, figures: dict[str, Any]) -> str:
    """One recipe."""
    lines = [f"## {figures['recipe']}\n", protocol(figures["seeds"][0]["test"]), conditions(figures)]
    lines += ["| | HR@10 | NDCG@10 | epochs | training |", "|---|---|---|---|---|"]
    for seed in figures["seeds"]:
        test, training = seed["test"], seed["training"]
        spent = f"{training['epochs']} | {training['seconds_since_start'] / 60:.1f} min"
        lines.append(f"| model, seed {seed['seed']} | {cells(test, 'model')} | {spent} |")
    if len(figures["seeds"]) > 1:
        mean = figures["mean_test"]
        lines.append(
            f"| **mean of {len(figures['seeds'])} seeds** | **{mean['hr@10']:.4f}** | **{mean['ndcg@10']:.4f}** | | |"
        )
    test = figures["seeds"][0]["test"]
    lines += [f"| {name} | {cells(test, name)} | | |" for name in test["baselines"]]
    return "\n".join(lines) + "\n"
