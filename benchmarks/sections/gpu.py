"""Training on one GPU."""

from __future__ import annotations

from typing import Any

from sections.common import number, table
from sections.peers import LOSSES

FILES = "gpu.json"
TITLE = "One GPU"
ABOUT = """A GPT-2 of 12 blocks of width 768 on MovieLens 1M, bfloat16 autocast, 32,768 real events a step, trained as a
whole or through LoRA of rank 16; beside it Hugging Face's Trainer with peft: the same architecture, as many real events
a step on average, batches grouped by length, the fused AdamW. The share is the backbone's products on real events over
the GPU's own rate for bfloat16 products. *TF32* is `torch.set_float32_matmul_precision("high")`, which the Trainer's
model does not need, as its softmax is in bfloat16. Then the loss alone, and epochs of the small models of *Seconds an
epoch* in float32, without validation.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A table a part."""
    said = f"{figures['gpu']}; {figures['bf16_tflops']} bfloat16 TFLOP/s. {figures.get('remark', '')}\n"
    runs = [
        {
            "system": row["system"],
            "trains": row["trains"],
            "dropout": row["dropout"],
            "TF32": {"high": "yes", "highest": "no"}.get(row.get("float32_products", ""), "-"),
            "events/s": number(row["events_per_second"]),
            "share": f"{row['backbone_tflops'] / figures['bf16_tflops']:.0%}",
            "peak GB": row["peak_gb"],
        }
        for row in figures.get("large", []) + figures.get("trainer", [])
    ]
    losses = [
        {
            "items x positions": f"{number(row['items'])} x {number(row['positions'])}",
            "logits GB": f"{row['logits_gb']:.2f}",
            "extra GB": row["seqrec"]["extra_gb"],
            "ms": row["seqrec"]["ms"],
            "plain: extra GB": row["plain"]["extra_gb"] if "plain" in row else "-",
            "plain: ms": row["plain"]["ms"] if "plain" in row else "-",
            "gradients differ by": f"{row['gradient_difference']:.0e}" if "plain" in row else "-",
        }
        for row in figures.get("softmax", [])
    ]
    epochs = [
        {"data": row["data"], "loss": LOSSES[row["loss"]], "events a step": row["step_tokens"], "s": row["seconds"]}
        for row in figures.get("epochs", [])
    ]
    return [said, *table(runs), "", *table(losses), "", *table(epochs)]
