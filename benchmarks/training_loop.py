"""What Lightning's loop costs: `Trainer.fit` beside a bare loop over the same stream, model and optimizer.

    SEQREC_DATA=… python benchmarks/training_loop.py

CPU seconds of this process, one thread, the two alternated over whole epochs of Amazon Beauty after one to warm up;
writes benchmarks/results/training-loop.json. Both end with the same weights.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from harness import RECIPES, write_result

from seqrec.recipe import Parts, build, ensure_store, load_recipe
from seqrec.stream import Position

RECIPE = RECIPES / "amazon-beauty-causal.yaml"
SETTINGS = [
    "model.items.width=64",
    "model.backbone.width=64",
    "model.backbone.dropout=0.2",
    "model.loss={kind: sampled_softmax, negatives: {uniform: 256}}",
    "optimizer={kind: adamw, lr: 1e-3}",
    "selection.patience=null",
    "trainer={max_epochs: 1, accelerator: cpu, limit_val_batches: 0, enable_progress_bar: false}",
]
ROUNDS = 3


def by_lightning(parts: Parts) -> None:
    parts.trainer.fit(parts.module, parts.data)


def by_hand(parts: Parts) -> None:
    """The same steps, without what makes them exact on many ranks, without logs and checkpoints."""
    module, stream = parts.module, parts.data.training
    module.trainer = parts.trainer
    configured: Any = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    module.train()
    for step, batch in enumerate(stream.batches(Position(0, 0))):
        module.on_train_batch_start(batch, step)
        loss: Any = module.training_step(batch, step)
        optimizer.zero_grad()
        loss["loss"].backward()
        optimizer.step()
        schedule.step()


def main() -> None:
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {"lightning": [], "bare": []}
    with tempfile.TemporaryDirectory() as name:
        recipe = load_recipe(RECIPE, [*SETTINGS, f"data.store={name}/store"])
        ensure_store(recipe)
        for _ in range(ROUNDS + 1):
            weights = {}
            for kind, train in (("lightning", by_lightning), ("bare", by_hand)):
                parts = build(recipe, Path(name) / "run")
                _ = parts.data.training  # counted once a run, not once a step
                started = time.process_time()
                train(parts)
                seconds[kind].append(time.process_time() - started)
                weights[kind] = parts.module.model.items.weight
            assert torch.equal(weights["lightning"], weights["bare"])
        steps = parts.data.training.n_steps
    per_step = {kind: 1e3 * min(values[1:]) / steps for kind, values in seconds.items()}
    figures = {
        "steps": steps,
        "cpu_ms_per_step": {kind: round(value, 3) for kind, value in per_step.items()},
        "lightning_share": round(1 - per_step["bare"] / per_step["lightning"], 4),
        "cpu_seconds": {kind: [round(value, 3) for value in values[1:]] for kind, values in seconds.items()},
        "settings": SETTINGS,
    }
    print(figures)
    print(write_result("training-loop", figures))


if __name__ == "__main__":
    main()
