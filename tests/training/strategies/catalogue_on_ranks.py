"""Trains under `catalogue_parallel` on 1, 2 and 3 ranks, and on one process as ever: catalogue_on_ranks.py FOLDER.

FOLDER holds cases.json, recipes by name. Each case and number of ranks leaves CASE-RANKS.pt there, by rank 0: the
gradients of the first steps, gathered, and the validation metrics; RANKS is 0 for the one process.

And it holds run.json, a recipe that is trained on one process to whole.ckpt; on two ranks to cut.ckpt, and from there
on three ranks and on one process to 3.ckpt and 0.ckpt. Two ranks also make it a run folder, runs/tiny.

A script of its own, which forks its ranks after the imports and before anything has started threads.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from forked import run_forked
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from seqrec.recipe import Recipe, build, build_data, build_recipe_model, fit, parse_recipe
from seqrec.stream.order_share import micro_batches_per_step
from seqrec.training import OptimizerSettings, SequenceRecommender
from seqrec.training.catalogue import ShardedItemTable
from seqrec.training.strategies import build_strategy

STEPS = 2
RUN_STEPS, CUT = 8, 3


class Recorder(Callback):
    """Gradients before each step, whole."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer: L.Trainer, module: L.LightningModule, _: Any) -> None:
        gradients = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
        table = module.model.items
        if isinstance(table, ShardedItemTable):
            gradient = gradients["model.items.weight"]
            gradients["model.items.weight"] = table.shard.gather(gradient.to_dense())
        self.gradients.append({name: gradient.to_dense() for name, gradient in gradients.items()})


def train(values: dict[str, Any], ranks: int) -> dict[str, Any]:
    recipe = parse_recipe(values, where="test")
    data = build_data(recipe)
    torch.manual_seed(0)
    model = build_recipe_model(recipe, data.store, total_steps=STEPS)
    # a rate so small that no weight changes: each step's gradient is that of the same model
    settings = OptimizerSettings(lr=1e-30, table_updates=recipe.optimizer.table_updates)
    counts = data.split.train_counts
    module = SequenceRecommender(model, settings, seed=1, total_steps=STEPS, train_counts=counts)
    recorder = Recorder()
    trainer = L.Trainer(
        accelerator="cpu", devices=max(ranks, 1), strategy=build_strategy("catalogue_parallel" if ranks else "auto"),
        max_steps=STEPS, precision=values["trainer"]["precision"], use_distributed_sampler=False, logger=False,
        limit_val_batches=1.0, num_sanity_val_steps=0, inference_mode=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[recorder],
    )  # fmt: skip
    trainer.accumulate_grad_batches = micro_batches_per_step(data.training.n_partitions, max(ranks, 1))
    trainer.validate(module, data, verbose=False)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    trainer.fit(module, data)
    return {"gradients": recorder.gradients, "metrics": metrics}


def train_to(step: int, ranks: int, folder: Path, *, save: str, resume: str | None = None) -> None:
    trainer, module, data = build(recipe_on(ranks, folder, max_steps=step), folder / "runs" / save)
    trainer.fit(module, data, ckpt_path=resume and str(folder / resume))
    trainer.save_checkpoint(folder / save)


def recipe_on(ranks: int, folder: Path, **trainer: Any) -> Recipe:
    values = json.loads((folder / "run.json").read_text())
    strategy = {"devices": max(ranks, 1), "strategy": "catalogue_parallel" if ranks else "auto"}
    return parse_recipe(values | {"trainer": values["trainer"] | strategy | trainer}, where="test")


@contextmanager
def group(rank: int, ranks: int, folder: Path) -> Iterator[bool]:
    """A process group, or none for 0 ranks; whether this process takes part."""
    if rank >= max(ranks, 1):
        yield False
        return
    if ranks:
        os.environ |= {"LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        store = dist.FileStore(str(folder / f"group-{ranks}"), ranks)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    yield True
    if ranks:
        dist.destroy_process_group()
        del os.environ["LOCAL_RANK"]


def main_of(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    os.chdir(folder)
    cases = json.loads((folder / "cases.json").read_text())
    for ranks in (0, 1, 2, 3):
        with group(rank, ranks, folder) as takes_part:
            for name, values in cases.items() if takes_part else ():
                found = train(values, ranks)
                if rank == 0:
                    torch.save(found, folder / f"{name}-{ranks}.pt")
            if takes_part and ranks == 0:
                train_to(RUN_STEPS, 0, folder, save="whole.ckpt")
            if takes_part and ranks == 2:
                train_to(CUT, 2, folder, save="cut.ckpt")
                fit(recipe_on(2, folder, max_steps=None, max_epochs=1))
            if takes_part and ranks == 3:
                train_to(RUN_STEPS, 3, folder, save="3.ckpt", resume="cut.ckpt")
    if rank == 0:
        train_to(RUN_STEPS, 0, folder, save="0.ckpt", resume="cut.ckpt")


def main(folder: Path) -> None:
    run_forked(main_of, [(rank, folder) for rank in range(3)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
