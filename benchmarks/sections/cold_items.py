"""Items without events in training."""

from __future__ import annotations

from typing import Any

FILES = "cold-items.json"
TITLE = "Cold items"
ABOUT = """Amazon Beauty with a tenth of its items taken out of training and validation: their events go but where they
are a user's last one, the test target. Every item of the catalogue is ranked for every user, seen ones left out.
Features are MiniLM's vectors of title and category, and the category's values. Text alone ranks by the product with the
mean of the history's text vectors and is not trained. 95 % intervals (Wilson) in brackets.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a kind of items."""
    rows = figures["rows"]
    first = rows[0]
    warm = first["users"] - first["cold_users"]
    lines = [
        f"| R@10 | cold target ({first['cold_users']:,} users) | other target ({warm:,} users) | all | training |",
        "|---" * 5 + "|",
    ]
    for row in rows:
        cells = []
        for which in ("cold", "warm", "all"):
            low, high = row[f"interval {which}"]
            cells.append(f"{row[f'recall@10 {which}']:.4f} [{low:.4f}, {high:.4f}]")
        training = row.get("training")
        spent = f"{training['epochs']} epochs, {training['training_seconds'] / 60:.1f} min" if training else "none"
        lines.append(f"| {row['name']} | {' | '.join(cells)} | {spent} |")
    return lines
