"""How much of the machine's own matmul rate training reaches.

    SEQREC_DATA=… python benchmarks/matmul_share.py

Trains width 256, 4 blocks, on Amazon Beauty through Lightning's Trainer, as a recipe does, and counts the backbone's
arithmetic on real tokens only: neither padding, nor the softmax, nor anything that is not a product. Beside it the
share of the softmax. The machine's rate is that of the fastest of square and of the backbone's own products. It is
measured after each step, outside its time, since a shared machine's rate can halve within a minute: a share is the
arithmetic done over what the machine would have done in the time of each step at its rate then. Writes
benchmarks/results/matmul-share.json.
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
Shape = tuple[int, int, int]
FORWARD_AND_BACKWARD = 3  # products: one forward, two backward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="steps that are timed")
    parser.add_argument("--step-tokens", type=int, nargs="+", default=[2048, 8192])
    parser.add_argument("--dropout", type=float, nargs="+", default=[0.0, 0.2])
    arguments = parser.parse_args()
    shape = fastest_product()
    rows = []
    for step_tokens in arguments.step_tokens:
        for dropout in arguments.dropout:
            for loss in LOSSES:
                rows.append(measure(loss, step_tokens, dropout, arguments.steps, shape))
                print(json.dumps(rows[-1]), flush=True)
    figures = {"product": shape, "width": WIDTH, "blocks": BLOCKS, "rows": rows}
    print(write_result("matmul-share", figures))


def fastest_product() -> Shape:
    """The (m, k, n) of the product of the highest rate."""
    shapes = [(2048, 2048, 2048), (2048, WIDTH, 4 * WIDTH), (2048, 4 * WIDTH, WIDTH), (8192, WIDTH, 3 * WIDTH)]
    products = {shape: Product(shape) for shape in shapes}
    rates = {shape: median(product.rate() for _ in range(30)) for shape, product in products.items()}
    return max(rates, key=lambda shape: rates[shape])


class Product:
    """A float32 product of (m, k) and (k, n)."""

    def __init__(self, shape: Shape):
        m, k, n = shape
        self._a, self._b, self._out = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
        self._flops = 2.0 * m * k * n

    def rate(self) -> float:
        """FLOP/s, now."""
        start = time.perf_counter()
        torch.mm(self._a, self._b, out=self._out)
        return self._flops / (time.perf_counter() - start)


def measure(loss: str, step_tokens: int, dropout: float, steps: int, shape: Shape) -> dict[str, Any]:
    """Shares of one setting."""
    changes = [f"{field}={value}" for field, value in SIZES.items()]
    changes += [f"model.loss={LOSSES[loss]}", f"model.backbone.dropout={dropout}", f"data.step_tokens={step_tokens}"]
    recipe = load_recipe(RECIPE, [*changes, f"trainer.max_steps={steps + 5}", "trainer.limit_val_batches=0"])
    ensure_store(recipe)
    with tempfile.TemporaryDirectory() as folder:
        trainer, module, data = build(recipe, folder)
        watch = _Watch(module.model, Product(shape))
        trainer.callbacks.append(watch)
        trainer.fit(module, data)
    some = slice(5, None)  # the first steps warm up
    steps_timed = list(zip(watch.seconds[some], watch.loss_seconds[some], watch.rates[some], strict=True))
    backbone, in_loss = sum(watch.backbone_flops[some]), sum(watch.loss_flops[some])
    return {
        "loss": loss,
        "step_tokens": step_tokens,
        "dropout": dropout,
        "steps": len(steps_timed),
        "seconds": sum(watch.seconds[some]),
        "loss_seconds": sum(watch.loss_seconds[some]),
        "real_tokens": sum(watch.tokens[some]),
        "padded_tokens": sum(watch.padded[some]),
        "matmul_gflops": [min(watch.rates[some]) / 1e9, median(watch.rates[some]) / 1e9, max(watch.rates[some]) / 1e9],
        "share": backbone / sum(step * rate for step, _, rate in steps_timed),
        "share_without_softmax_time": backbone / sum((step - loss) * rate for step, loss, rate in steps_timed),
        "softmax_share": in_loss / sum(loss * rate for _, loss, rate in steps_timed),
    }


class _Watch(Callback):
    """Times whole steps, loader and optimiser included, and within them the loss; and a product after each."""

    def __init__(self, model: SequenceModel, product: Product):
        self.rates: list[float] = []
        self.seconds: list[float] = []
        self.loss_seconds: list[float] = []
        self.tokens: list[int] = []
        self.padded: list[int] = []
        self.backbone_flops: list[float] = []
        self.loss_flops: list[float] = []
        self._outputs = len(model.item_vectors()) if model.loss.negatives is None else NEGATIVES + 1
        self._product = product
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
        self.loss_seconds.append(self._loss_seconds)
        lengths = batch.lengths.double()
        products = 12 * BLOCKS * WIDTH**2 * lengths.sum() + BLOCKS * WIDTH * (lengths * (lengths + 1)).sum()
        self.backbone_flops.append(float(2 * FORWARD_AND_BACKWARD * products))
        self.loss_flops.append(2.0 * FORWARD_AND_BACKWARD * batch.step_targets * self._outputs * WIDTH)
        self.tokens.append(int(lengths.sum()))
        self.padded.append(batch.inputs.numel())
        self.rates.append(max(self._product.rate() for _ in range(3)))
        self._last = time.perf_counter()


if __name__ == "__main__":
    main()
