"""What re-ranking for diversity costs."""

from __future__ import annotations

from typing import Any

FILES = "diversity.json"
TITLE = "Re-ranking for diversity"
ABOUT = """Lists of one trained model, its best candidates re-ranked by MMR and by a determinantal point process with
each weight of relevance, by cosine of item vectors and by categories; test targets. Diversity is the mean of
1 - similarity over the pairs of a list, in vectors and in categories. One seed; the weights are all shown and none is
chosen.

![NDCG over diversity](diversity.svg)
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a method, similarity and weight."""
    k, users = figures["k"], f"{figures['users']:,} users"
    lines = [
        f"Recipe `{figures['recipe']}`, {users}, lists of {k} of {figures['candidates']} candidates.\n",
        "| method | by | weight | NDCG | HR | diversity in vectors | in categories | coverage |",
        "|---" * 8 + "|",
    ]
    for row in sorted(figures["rows"], key=lambda row: (row["by"], row["method"], row["weight"])):
        low, high = row["interval"]
        shares = [row[f"{name}@{k}"] for name in ("hr", "vectors_diversity", "category_diversity", "coverage")]
        cells = [row["method"].upper(), row["by"], f"{row['weight']:g}"]
        cells += [f"{row[f'ndcg@{k}']:.4f} [{low:.4f}, {high:.4f}]", *(f"{share:.4f}" for share in shares)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines
