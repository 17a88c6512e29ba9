"""Adapters from training to somebody else's program."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "adapters.json"
TITLE = "Adapters from training to another program"
ABOUT = """MiniLM over the demo's simulated shop, an epoch. How far scores of the exported samples lie from the live
model's, as a share of a history's top score where that is above 1: of the same training killed with SIGKILL and gone on
with; of the bundle in a fresh process; of the merged bundle; and of a program with only peft, transformers and
safetensors, in a virtual environment made for it, which reads them from the bundle (`benchmarks/open_bundle.py`). The
first figure is how far the adapter itself moves them. Bottlenecks are a kind of seqrec's own, which plain peft does not
know: it says so, and opens them once seqrec is imported.
"""
_STEPS = ("resumed", "exported", "merged", "elsewhere")


def body(figures: dict[str, Any]) -> list[str]:
    """A row an adapter; AdaLoRA's ranks below."""
    lines = table(
        [
            {
                "adapter": row["adapter"],
                "moves scores by": f"{row['adapter_moves_scores_by']:.3g}",
                "killed after": f"step {row['killed_at_step']} of {row['steps']}",
                **{step: row[step] if isinstance(row[step], str) else f"{row[step]:.1e}" for step in _STEPS},
                "adapter, kB": f"{row['adapter_bytes'] / 1e3:.0f}",
            }
            for row in figures["rows"]
        ]
    )
    for row in figures["rows"]:
        if row["ranks"]:
            same = "the same" if row["ranks"] == row["ranks_resumed"] else "others"
            listed = ", ".join(str(rank) for rank in row["ranks"].values())
            lines.append(f"\nAdaLoRA's ranks by layer: {listed}; of the training that was killed: {same}.")
    return lines
