"""Memory of a rank whose item table is whole, or in shards."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "catalogue-parallel.json"
TITLE = "An item table in shards"
ABOUT = """Training with the full softmax in float32 and AdamW on two processes: what each takes beyond an idle one, at
its peak and between steps ([catalogue_parallel](catalogue-parallel.md)). DDP's figure for the largest catalogue lies on
the line through the smaller ones.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row for each catalogue and strategy."""
    said = ", ".join(f"{key} {value}" for key, value in figures["shape"].items())
    rows = [
        {
            "items": row["items"],
            "strategy": row["strategy"] + (", computed" if row.get("computed") else ""),
            "peak, MB": row["peak_mb"],
            "between steps, MB": row["between_steps_mb"],
        }
        for row in sorted(figures["rows"], key=lambda row: (row["items"], row["strategy"]))
    ]
    return [f"{said.capitalize()}.\n", *table(rows)]
