"""Forms of an export beside the live model."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "forms-*.json"
TITLE = "Forms of an export: {rest}"
ABOUT = """Each by a fresh process that had its own library and numpy only, beside the live model, whose figures stand
second: the largest difference of a score, as a share of a history's top score where that is above 1; the ten best items
of validation users, those of the history not left out; a median answer for full histories, on as many threads. An
index's time is that of its search alone, beside that of all products and their ten best. `generate` is measured by
`transformers.generate`, beam by beam in Python; below, the bundle's samples by another program in an environment of its
own (`benchmarks/generate_bundle.py`).
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a form."""
    found = figures.get("elsewhere")
    return [
        f"{figures['items']:,} items, backbone `{figures['backbone']}`.\n",
        *table(
            [
                {
                    "form": row["form"],
                    "library": row["library"],
                    "MB": f"{row['size_bytes'] / 1e6:.1f}",
                    "scores differ": "–" if row["max_difference"] is None else f"{row['max_difference']:.1e}",
                    "same ten best": f"{row['same_top_10']:.2%}",
                    "NDCG@10": f"{row['ndcg_10']:.4f} / {row['live_ndcg_10']:.4f}",
                    "users": row["users"],
                    **{
                        f"ms for {n}": f"{row['milliseconds'][n]:.2f} / {row['live_milliseconds'][n]:.2f}"
                        for n in row["milliseconds"]
                    },
                }
                for row in figures["rows"]
            ]
        ),
        *([] if found is None else [f"\nElsewhere: {_elsewhere(found)}"]),
    ]


def _elsewhere(found: dict[str, Any]) -> str:
    lists = "the same lists" if found["same"] else "other lists"
    return f"{lists}, scores that differ by {found['apart']:.1e} of a history's top score."
