"""How much of the machine's own matmul rate training reaches.

    SEQREC_DATA=… python benchmarks/matmul_share.py

Trains width 256, 4 blocks, on Amazon Beauty through Lightning's Trainer, as a recipe does, and counts the backbone's
arithmetic on real tokens only: neither padding, nor the softmax, nor anything that is not a product. Beside it the
share of the softmax. The machine's rate is the best of square and of the backbone's own products, measured before and
after. Writes benchmarks/results/matmul-share.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from statistics import median
from typing import Any

import lightning as L
import torch
from harness import RECIPES, write_result
from lightning.pytorch.callbacks import Callback

from seqrec.models import SequenceModel
from seqrec.recipe import build, ensure_store, load_recipe
from seqrec.stream import TrainingBatch

RECIPE = RECIPES / "amazon-beauty-causal.yaml"
WIDTH, BLOCKS = 256, 4
SIZES = {"model.items.width": WIDTH, "model.backbone.width": WIDTH, "model.backbone.layers": BLOCKS}
NEGATIVES = 256
LOSSES = {
    "full": "{kind: full_softmax}",
    f"{NEGATIVES} negatives": f"{{kind: sampled_softmax, negatives: {{uniform: {NEGATIVES}}}}}",
}
FORWARD_AND_BACKWARD = 3  # products: one forward, two backward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="steps that are timed")
    parser.add_argument("--step-tokens", type=int, nargs="+", default=[2048, 8192])
    parser.add_argument("--dropout", type=float, nargs="+", default=[0.0, 0.2])
    arguments = parser.parse_args()
    rates = [matmul_rate()]
    rows = [
        measure(loss, step_tokens, dropout, arguments.steps)
        for step_tokens in arguments.step_tokens
        for dropout in arguments.dropout
        for loss in LOSSES
    ]
    rates.append(matmul_rate())
    for row in rows:
        row["share"] = row["backbone_flops"] / row["seconds"] / max(rates)
        row["share_without_softmax_time"] = row["backbone_flops"] / (row["seconds"] - row["loss_seconds"]) / max(rates)
        row["softmax_share"] = row["loss_flops"] / row["loss_seconds"] / max(rates)
        print(json.dumps(row))
    figures = {"matmul_gflops": [rate / 1e9 for rate in rates], "width": WIDTH, "blocks": BLOCKS, "rows": rows}
    print(write_result("matmul-share", figures))


def matmul_rate() -> float:
    """Best rate of float32 products, FLOP/s."""
    rates = []
    for m, k, n in [(2048, 2048, 2048), (2048, WIDTH, 4 * WIDTH), (2048, 4 * WIDTH, WIDTH), (8192, WIDTH, 3 * WIDTH)]:
        a, b, out = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
        times = []
        for _ in range(30):
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            times.append(time.perf_counter() - start)
        rates.append(2 * m * k * n / median(times))
    return max(rates)


def measure(loss: str, step_tokens: int, dropout: float, steps: int) -> dict[str, Any]:
    """Median step of one setting."""
    changes = [f"{field}={value}" for field, value in SIZES.items()]
    changes += [f"model.loss={LOSSES[loss]}", f"model.backbone.dropout={dropout}", f"data.step_tokens={step_tokens}"]
    recipe = load_recipe(RECIPE, [*changes, f"trainer.max_steps={steps + 5}", "trainer.limit_val_batches=0"])
    ensure_store(recipe)
    with tempfile.TemporaryDirectory() as folder:
        trainer, module, data = build(recipe, folder)
        watch = _Watch(module.model)
        trainer.callbacks.append(watch)
        trainer.fit(module, data)
    some = slice(5, None)  # the first steps warm up
    return {
        "loss": loss,
        "step_tokens": step_tokens,
        "dropout": dropout,
        "steps": len(watch.seconds[some]),
        "seconds": sum(watch.seconds[some]),
        "loss_seconds": sum(watch.loss_seconds[some]),
        "real_tokens": sum(watch.tokens[some]),
        "padded_tokens": sum(watch.padded[some]),
        "backbone_flops": sum(watch.backbone_flops[some]),
        "loss_flops": sum(watch.loss_flops[some]),
    }


class _Watch(Callback):
    """Times whole steps, loader and optimiser included, and within them the loss."""

    def __init__(self, model: SequenceModel):
        self.seconds: list[float] = []
        self.loss_seconds: list[float] = []
        self.tokens: list[int] = []
        self.padded: list[int] = []
        self.backbone_flops: list[float] = []
        self.loss_flops: list[float] = []
        self._outputs = len(model.item_vectors()) if model.loss.negatives is None else NEGATIVES + 1
        self._last = 0.0
        self._loss_seconds = 0.0
        plain = model.loss.forward

        def timed(hidden: torch.Tensor, *arguments: Any) -> torch.Tensor:
            """The loss alone, forward and backward, on a copy of its inputs; its time is taken out of the step's."""
            start = time.perf_counter()
            targets, table, *rest = arguments
            copies = hidden.detach().requires_grad_(), table.detach().requires_grad_()
            plain(copies[0], targets, copies[1], *rest).backward()
            self._loss_seconds = time.perf_counter() - start
            return plain(hidden, *arguments)

        model.loss.forward = timed  # type: ignore[method-assign]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._last = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: TrainingBatch, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._last - self._loss_seconds)
        self._last = now
        self.loss_seconds.append(self._loss_seconds)
        lengths = batch.lengths.double()
        products = 12 * BLOCKS * WIDTH**2 * lengths.sum() + BLOCKS * WIDTH * (lengths * (lengths + 1)).sum()
        self.backbone_flops.append(float(2 * FORWARD_AND_BACKWARD * products))
        self.loss_flops.append(2.0 * FORWARD_AND_BACKWARD * batch.step_targets * self._outputs * WIDTH)
        self.tokens.append(int(lengths.sum()))
        self.padded.append(batch.inputs.numel())


if __name__ == "__main__":
    main()
