"""Gradients of the first steps of each case on 1, 2 and 3 ranks: step_gradients.py RANK FOLDER, on three processes.

FOLDER holds cases.json, recipes by name. For each case and number of ranks, rank 0 leaves CASE-RANKS.pt there, and each
rank CASE-RANKS-RANK.json with the rows of its micro-batches.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from seqrec.recipe import build_data, build_recipe_model, item_features, parse_recipe
from seqrec.stream import TrainingBatch
from seqrec.stream.order_share import micro_batches_per_step
from seqrec.training import OptimizerSettings, SequenceRecommender

STEPS = 3


class Recorder(Callback):
    def __init__(self) -> None:
        self.gradients: list[dict[str, Tensor]] = []
        self.rows: list[list[int]] = []

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: TrainingBatch, _: int) -> None:
        self.rows.append(batch.rows.tolist())

    def on_before_optimizer_step(self, trainer: L.Trainer, module: L.LightningModule, _: Any) -> None:
        self.gradients.append({name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None})


def record(values: dict[str, Any], world_size: int) -> Recorder:
    recipe = parse_recipe(values, where="test")
    data = build_data(recipe)
    torch.manual_seed(0)
    features, users = item_features(recipe, data), data.user_values
    model = build_recipe_model(recipe, data.store, total_steps=STEPS, features=features, users=users)
    # a rate so small that no weight changes: each step's gradient is that of the same model
    counts = data.split.train_counts
    module = SequenceRecommender(model, OptimizerSettings(lr=1e-30), seed=1, total_steps=STEPS, train_counts=counts)
    recorder = Recorder()
    trainer = L.Trainer(
        accelerator="cpu", devices=world_size, strategy="ddp" if world_size > 1 else "auto", max_steps=STEPS,
        precision=values["trainer"]["precision"], use_distributed_sampler=False, limit_val_batches=0, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[recorder],
    )  # fmt: skip
    trainer.accumulate_grad_batches = micro_batches_per_step(data.training.n_partitions, world_size)
    trainer.fit(module, data)
    return recorder


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)
    cases = json.loads((folder / "cases.json").read_text())
    for world_size in (1, 2, 3):
        if rank >= world_size:
            continue
        if world_size > 1:
            store = dist.FileStore(str(folder / f"group-{world_size}"), world_size)
            dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
        for name, values in cases.items():
            recorder = record(values, world_size)
            (folder / f"{name}-{world_size}-{rank}.json").write_text(json.dumps(recorder.rows))
            if rank == 0:
                torch.save(recorder.gradients, folder / f"{name}-{world_size}.pt")
        if world_size > 1:
            dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
