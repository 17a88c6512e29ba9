"""How much of the machine's matmul rate training reaches."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "matmul-share.json"
TITLE = "Share of the machine's matmul rate"
ABOUT = """Training on Amazon Beauty through Lightning's Trainer, whole steps with loader and optimiser. The share is
the backbone's products on real events, without padding and without the softmax, over what the machine's fastest float32
product, timed after each step, would have done in the time of the step. The loss is timed by a second pass, which is
taken out of the step's time; its own share is its products over its time. What is no product, as normalisation, dropout
and the optimiser, counts as time only.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a setting."""
    product = " x ".join(str(size) for size in figures["product"])
    said = f"{figures['blocks']} blocks of width {figures['width']}; the fastest product (m x k x n) is {product}.\n"
    rows = [
        {
            "loss": row["loss"],
            "step_tokens": row["step_tokens"],
            "dropout": row["dropout"],
            "steps": row["steps"],
            "ms a step": 1000 * row["seconds"] / row["steps"],
            "of it in the loss": f"{row['loss_seconds'] / row['seconds']:.0%}",
            "padding": f"{1 - row['real_tokens'] / row['padded_tokens']:.1%}",
            "products' GFLOP/s, least, median, most": ", ".join(f"{rate:.0f}" for rate in row["matmul_gflops"]),
            "share": f"{row['share']:.0%}",
            "share but for the loss's time": f"{row['share_without_softmax_time']:.0%}",
            "the loss's own share": f"{row['softmax_share']:.0%}",
        }
        for row in figures["rows"]
    ]
    return [said, *table(rows)]
