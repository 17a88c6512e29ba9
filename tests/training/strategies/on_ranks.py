"""Trains each case on one process, or on two that train all such cases: on_ranks.py FOLDER.

FOLDER holds cases.json: by name, `devices` and the values of a recipe. Each case leaves NAME.json there: losses by
step, or the error that refused it, and what its callbacks saw.

A script of its own, which forks its ranks after the imports and before anything has started threads.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from seqrec.errors import SeqrecError
from seqrec.recipe import build, parse_recipe
from seqrec.stream import TrainingBatch
from seqrec.training.collectives import RankSum


class Recorder(Callback):
    """The exact loss of each step, over all ranks."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.seconds: list[float] = []
        self._sum: Tensor | float = 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: TrainingBatch, batch_idx: int
    ) -> None:
        self._sum = outputs["loss_sum"].double() + (self._sum if batch.micro_batch else 0.0)
        if batch.micro_batch + 1 == trainer.accumulate_grad_batches:
            self.losses.append(float(RankSum(self._sum.clone()).wait() / outputs["targets"]))


def train(name: str, case: dict[str, Any], folder: Path) -> dict[str, Any]:
    recorder = Recorder()
    try:
        recipe = parse_recipe(case["recipe"], where=name)
        parts = build(recipe, folder / "runs" / name)
        parts.trainer.callbacks.insert(0, recorder)
        resume = case.get("resume")
        parts.trainer.fit(parts.module, parts.data, ckpt_path=resume and str(folder / resume))
    except SeqrecError as error:
        return {"refused": str(error)}
    except Exception:
        if "refused" in case:
            return {"failed": traceback.format_exc()}
        raise
    return {"losses": recorder.losses, "global_step": parts.trainer.global_step}


def main_of(rank: int | None, cases: dict[str, Any], folder: Path) -> None:
    """Rank of two processes, or None for the one."""
    torch.set_num_threads(1)
    os.chdir(folder)
    if rank is not None:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "TORCHELASTIC_RUN_ID": "test",
        }  # fmt: skip
        store = dist.FileStore(str(folder / "meeting"), 2)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    for name, case in cases.items():
        if case["devices"] == (1 if rank is None else 2):
            result = train(name, case, folder)
            if not rank:
                (folder / f"{name}.json").write_text(json.dumps(result))


def main(folder: Path) -> None:
    cases = json.loads((folder / "cases.json").read_text())
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=main_of, args=(rank, cases, folder)) for rank in (None, 0, 1)]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        for process in processes:
            process.join(0.2)
        if any(process.exitcode for process in processes):  # the others would wait for it
            for process in processes:
                process.kill()
            raise SystemExit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
