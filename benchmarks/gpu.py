"""Training on one GPU: beside its own matmul rate, and beside Hugging Face's Trainer with peft on the same model.

    SEQREC_DATA=… python benchmarks/gpu.py

Four parts; each adds what it finds to benchmarks/results/gpu.json before the next begins:

- epochs: the models of `benchmarks/training.py`, width 64, on Amazon Beauty and MovieLens 1M; seconds an epoch without
  validation. So small a model keeps no GPU busy: the figures say what a step costs at least;
- large: a GPT-2 of 12 blocks of width 768 on MovieLens 1M in bfloat16 autocast, trained as a whole and through LoRA.
  Events a second, peak memory, and the share of the GPU's rate for bfloat16 products, counting the backbone's
  arithmetic on real events only;
- trainer: the same in Hugging Face's Trainer with peft: the same architecture, as many real events a step on average,
  batches grouped by length, the fused AdamW, bfloat16 autocast;
- softmax: the loss over 1,000,000 items at 4,096 positions of width 64, time and peak memory, and its gradients beside
  those of the plain formula at a size where that fits.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import lightning as L
import numpy as np
import peft
import torch
import transformers
from harness import RECIPES, RESULTS, today, write_result
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from seqrec.models import build_loss
from seqrec.models.losses import FullSoftmaxSettings
from seqrec.recipe import build, ensure_store, load_recipe
from seqrec.recipe.schema import Recipe
from seqrec.stream import TrainingBatch

SMALL = {"Amazon Beauty": ("amazon-beauty-causal.yaml", 1), "MovieLens 1M": ("ml-1m-causal.yaml", 2)}
NEGATIVES = 256
LOSSES = {
    "full": "{kind: full_softmax}",
    "sampled": f"{{kind: sampled_softmax, negatives: {{uniform: {NEGATIVES}}}}}",
}
WIDTH, BLOCKS, HEADS, MAX_LENGTH = 768, 12, 12, 200
STEP_TOKENS, WARM_UP, STEPS, RANK = 32_768, 8, 40, 16
ADAPTERS = {"full": "null", "LoRA": f"{{kind: lora, rank: {RANK}, alpha: {2 * RANK}}}"}
PEAK_SHAPE = 8192
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # where there is none, one sees that the script runs
NAME = torch.cuda.get_device_name() if DEVICE == "cuda" else "none"
Part = Callable[[], list[dict[str, Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=[*PARTS], choices=PARTS)
    chosen = parser.parse_args()
    figures = earlier_parts() | {"gpu": NAME, "bf16_tflops": round(matmul_rate() / 1e12, 1)}
    print(NAME, figures["bf16_tflops"], "TFLOP/s", flush=True)
    for name in chosen.parts:
        figures[name] = PARTS[name]()
        print(write_result("gpu", figures), flush=True)


def earlier_parts() -> dict[str, Any]:
    """What this day has already measured on such a GPU."""
    path = RESULTS / "gpu.json"
    figures = json.loads(path.read_text()) if path.is_file() else {}
    same = figures.get("date") == today() and figures.get("gpu") == NAME
    return {name: figures[name] for name in PARTS if same and name in figures}


def synchronise() -> None:
    """Waits for the device."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def matmul_rate() -> float:
    """FLOP/s of a large bfloat16 product, the median of twenty."""
    n = PEAK_SHAPE if DEVICE == "cuda" else 512
    a, b = (torch.randn(n, n, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(25):
        synchronise()
        start = time.perf_counter()
        torch.mm(a, b)
        synchronise()
        times.append(time.perf_counter() - start)
    return 2.0 * n**3 / median(times[5:])


class Watch(Callback):
    """Times steps after the first ones, the device awaited only at both ends, and counts what they were made of."""

    def __init__(self, steps: int | None = None):
        self.lengths: list[Tensor] = []
        self.epochs: list[float] = []
        self.seconds = 0.0
        self._steps = steps

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        synchronise()
        self._epoch_start = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        synchronise()
        self.epochs.append(time.perf_counter() - self._epoch_start)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: TrainingBatch, batch_idx: int
    ) -> None:
        if trainer.global_step > WARM_UP:
            self.lengths.append(batch.lengths)
        if trainer.global_step == WARM_UP:
            self._begin()
        elif trainer.global_step == self._steps:
            synchronise()
            self.seconds = time.perf_counter() - self._start

    def _begin(self) -> None:
        synchronise()
        if DEVICE == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self._start = time.perf_counter()


def epochs() -> list[dict[str, Any]]:
    """Seconds an epoch of the small models."""
    rows = []
    for data, (file, blocks) in SMALL.items():
        for loss, settings in LOSSES.items():
            sizes = ["model.items.width=64", "model.backbone.width=64", "model.backbone.inner=64"]
            changes = [*sizes, f"model.backbone.layers={blocks}", f"model.loss={settings}", "trainer.max_epochs=4"]
            watch = Watch()
            recipe = train(file, changes, watch)
            seconds = round(median(watch.epochs[1:]), 3)
            rows.append({"data": data, "loss": loss, "step_tokens": recipe.data.step_tokens, "seconds": seconds})
            print(rows[-1], flush=True)
    return rows


def large() -> list[dict[str, Any]]:
    """The large model in seqrec."""
    rows = []
    sizes = [f"model.items.width={WIDTH}", f"model.backbone.width={WIDTH}", f"model.backbone.layers={BLOCKS}"]
    sizes += [f"model.backbone.heads={HEADS}", f"data.step_tokens={STEP_TOKENS}", f"data.max_length={MAX_LENGTH}"]
    for adapter, settings in ADAPTERS.items():
        for dropout in (0.0, 0.1):
            for products in ("highest", "high"):
                torch.set_float32_matmul_precision(products)
                changes = [*sizes, f"model.adapter={settings}", f"model.backbone.trainable={adapter == 'full'}".lower()]
                changes += [f"model.backbone.dropout={dropout}", f"trainer.max_steps={WARM_UP + STEPS}"]
                watch = Watch(WARM_UP + STEPS)
                train("ml-1m-causal.yaml", [*changes, "trainer.precision=bf16-mixed", "trainer.max_epochs=-1"], watch)
                head = {"system": "seqrec", "trains": adapter, "dropout": dropout, "float32_products": products}
                rows.append(head | rates(torch.cat(watch.lengths).cpu(), watch.seconds, adapter))
                print(rows[-1], flush=True)
    torch.set_float32_matmul_precision("highest")
    return rows


def train(file: str, changes: list[str], watch: Watch) -> Recipe:
    """Trains a recipe without validation and checkpoints."""
    quiet = [
        "trainer.limit_val_batches=0",
        "trainer.enable_progress_bar=false",
        "loggers=[]",
        "selection.patience=null",
    ]
    quiet.append("selection.save_every_steps=null")
    recipe = load_recipe(
        RECIPES / file, [*changes, *quiet, f"trainer.accelerator={'gpu' if DEVICE == 'cuda' else 'cpu'}"]
    )
    ensure_store(recipe)
    with tempfile.TemporaryDirectory() as folder:
        trainer, module, data = build(recipe, Path(folder))
        trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, L.pytorch.callbacks.ModelCheckpoint)]
        trainer.callbacks.append(watch)
        trainer.fit(module, data)
    return recipe


def rates(lengths: Tensor, seconds: float, trains: str) -> dict[str, Any]:
    """Events a second, peak memory, and the backbone's FLOP/s on real events."""
    real = lengths.double()
    linear, attention = 12 * BLOCKS * WIDTH**2 * real.sum(), BLOCKS * WIDTH * (real * (real + 1)).sum()
    # one product forward, one for the gradient of the input, and for what is trained one for that of the weight
    flops = 2.0 * (linear * (3 if trains == "full" else 2) + 3 * attention)
    return {
        "events_per_second": round(float(real.sum()) / seconds),
        "backbone_tflops": round(float(flops) / seconds / 1e12, 1),
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if DEVICE == "cuda" else None,
    }


def trainer() -> list[dict[str, Any]]:
    """The large model in Hugging Face's Trainer."""
    return [hugging_face(trains, dropout) for trains in ADAPTERS for dropout in (0.0, 0.1)]


def hugging_face(trains: str, dropout: float) -> dict[str, Any]:
    """One training with Hugging Face's Trainer: item ids are tokens, the tied embedding is the item table."""
    recipe = load_recipe(RECIPES / "ml-1m-causal.yaml")
    store = ensure_store(recipe)
    histories = [
        unit.items[begin:end][-MAX_LENGTH:].astype(np.int64)
        for unit in store.scan()
        for begin, end in zip(unit.offsets[:-1].tolist(), (unit.offsets[1:] - 2).tolist(), strict=True)
    ]
    rows = [{"input_ids": history, "length": len(history)} for history in histories if len(history) > 1]
    dropouts = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), dropout)
    sizes = {"n_embd": WIDTH, "n_layer": BLOCKS, "n_head": HEADS, "n_positions": MAX_LENGTH}
    config = transformers.GPT2Config(
        vocab_size=store.manifest.counts.items + 1, **sizes, **dropouts, bos_token_id=None, eos_token_id=None
    )
    model: Any = transformers.GPT2LMHeadModel(config)
    if trains == "LoRA":
        lora = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", fan_in_fan_out=True)
        model = peft.get_peft_model(model, lora)
        model.get_input_embeddings().requires_grad_(True)
    counted: list[Tensor] = []

    def collate(batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        lengths = torch.tensor([row["length"] for row in batch])
        padded = torch.zeros(len(batch), int(lengths.max()), dtype=torch.long)
        for into, row in zip(padded, batch, strict=True):
            into[: row["length"]] = torch.from_numpy(row["input_ids"])
        real = torch.arange(padded.shape[1]) < lengths.unsqueeze(1)
        counted.append(lengths)
        return {"input_ids": padded, "attention_mask": real.long(), "labels": padded.masked_fill(~real, -100)}

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder,
            max_steps=WARM_UP + STEPS,
            per_device_train_batch_size=round(STEP_TOKENS / float(np.mean([row["length"] for row in rows]))),
            train_sampling_strategy="group_by_length",
            bf16=True,
            optim="adamw_torch_fused",
            learning_rate=1e-3,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=DEVICE == "cpu",
        )
        watch = _TrainerWatch()
        transformers.Trainer(
            model, arguments, data_collator=collate, train_dataset=_Rows(rows), callbacks=[watch]
        ).train()
    row = {"system": "Hugging Face Trainer", "trains": trains, "dropout": dropout}
    row |= rates(torch.cat(counted[WARM_UP : WARM_UP + STEPS]), watch.seconds, trains)
    print(row, flush=True)
    return row


class _Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """What the Trainer's sampler by length asks for."""

    column_names = ("input_ids", "length")

    def __init__(self, rows: list[dict[str, Any]]):
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return [row[index] for row in self._rows] if isinstance(index, str) else self._rows[index]


class _TrainerWatch(transformers.TrainerCallback):
    """As `Watch`."""

    seconds = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        if state.global_step == WARM_UP:
            synchronise()
            if DEVICE == "cuda":
                torch.cuda.reset_peak_memory_stats()
            self._start = time.perf_counter()
        elif state.global_step == WARM_UP + STEPS:
            synchronise()
            self.seconds = time.perf_counter() - self._start


def softmax() -> list[dict[str, Any]]:
    """The loss alone, on the device."""
    loss = build_loss(FullSoftmaxSettings(kind="full_softmax"))
    rows = []
    for n_items, n_targets, plain in ((100_000, 1024, True), (1_000_000, 4096, False)):
        n_items, n_targets = (n_items, n_targets) if DEVICE == "cuda" else (n_items // 100, n_targets // 16)
        hidden = torch.randn(n_targets, 64, device=DEVICE, requires_grad=True)
        table = (0.1 * torch.randn(n_items, 64, device=DEVICE)).requires_grad_()
        targets = torch.randint(1, n_items + 1, (n_targets,), device=DEVICE)

        def own(hidden: Tensor = hidden, targets: Tensor = targets, table: Tensor = table) -> Tensor:
            value: Tensor = loss(hidden, targets, table)
            return value

        def formula(hidden: Tensor = hidden, targets: Tensor = targets, table: Tensor = table) -> Tensor:
            return torch.nn.functional.cross_entropy(hidden @ table.t(), targets - 1, reduction="sum")

        row: dict[str, Any] = {"items": n_items, "positions": n_targets, "logits_gb": 4 * n_items * n_targets / 1e9}
        row["seqrec"], gradients = timed_loss(own, hidden, table)
        if plain:
            row["plain"], expected = timed_loss(formula, hidden, table)
            pairs = zip(gradients, expected, strict=True)
            row["gradient_difference"] = max(float((found - want).norm() / want.norm()) for found, want in pairs)
        rows.append(row)
        print(row, flush=True)
    return rows


def timed_loss(function: Callable[[], Tensor], *inputs: Tensor) -> tuple[dict[str, float], list[Tensor]]:
    """Median milliseconds forward and backward, extra memory, and the gradients."""
    times = []
    for _ in range(8):
        for tensor in inputs:
            tensor.grad = None
        synchronise()
        before = torch.cuda.memory_allocated() if DEVICE == "cuda" else 0
        if DEVICE == "cuda":
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        function().backward()
        synchronise()
        times.append(time.perf_counter() - start)
    extra = torch.cuda.max_memory_allocated() - before if DEVICE == "cuda" else 0
    figures = {"ms": round(1e3 * median(times[3:]), 2), "extra_gb": round(extra / 1e9, 3)}
    return figures, [tensor.grad for tensor in inputs if tensor.grad is not None]


PARTS: dict[str, Part] = {"softmax": softmax, "large": large, "trainer": trainer, "epochs": epochs}


if __name__ == "__main__":
    main()
