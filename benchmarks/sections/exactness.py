"""One training on several numbers of processes."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "exactness.json"
TITLE = "One training on one, two and three processes"
ABOUT = """The demo's recipe with dropout, three epochs: losses of the same steps side by side, and at the end the
largest difference of a weight tensor, as a part of its norm. Other numbers of processes sum in another order. In
float32 AdamW lets the difference of a last bit grow, since its step hardly depends on the size of a gradient: the
losses stay together, the weights drift. What is promised: [exactness](exactness.md).
"""
PRECISIONS = {"64-true": "float64", "32-true": "float32"}


def body(figures: dict[str, Any]) -> list[str]:
    """A row a precision; then a row a step."""
    found = {name: figures[key] for key, name in PRECISIONS.items() if key in figures}
    summary = [
        {"precision": name, "steps": of["steps"], "losses differ by": of["largest_loss_difference"]}
        | {f"weights, {pair}": value for pair, value in of["largest_relative_weight_difference"].items()}
        for name, of in found.items()
    ]
    steps: dict[str, dict[str, str]] = {}
    for name, of in found.items():
        for step, losses in of["losses"].items():
            row = steps.setdefault(step, {"loss": step})
            row |= {f"{name}, {ranks}": f"{loss:.6f}" for ranks, loss in enumerate(losses, start=1)}
    return [*table(summary), "", *table(list(steps.values()))]
