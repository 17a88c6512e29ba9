"""The full softmax beside torch's and the plain formula."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "losses.json"
TITLE = "Full softmax"
ABOUT = """Cross-entropy over the whole catalogue, forward and backward pass in float32 at width 64, random inputs;
medians, methods in turns. *torch* is `F.linear_cross_entropy` as it comes, *torch tuned* the same in chunks of 4 MB of
logits, the fastest of the sizes tried, *plain* `cross_entropy(hidden @ table.T)`, which holds all logits. The floor is
the bare matrix products of seqrec's chunks, without a softmax. Extra memory is the peak of a pass over what was
resident before it. The error is that of the gradients, relative to the plain formula in float64. A method is left out
where it does not fit or takes minutes; a million items with 4,096 positions are one pass only. On a CPU: on
accelerators seqrec calls torch's kernel itself.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a size and method."""
    return table(
        [
            {
                "items": size["items"],
                "positions": size["positions"],
                "threads": size["threads"],
                "method": f"**{method}**" if method == "seqrec" else method,
                "ms": row["median_ms"],
                "× seqrec": row["times_seqrec"],
                "of the floor's rate": size.get("share_of_floor") if method == "seqrec" else None,
                "extra MB": row["extra_mb"],
                "of all logits": f"{row['extra_mb'] / size['logits_mb']:.0%}",
                "gradient error": row["gradient_error"],
            }
            for size in figures["sizes"]
            for method, row in size["methods"].items()
        ]
    )
