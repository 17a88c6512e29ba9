"""Trains cases on one process and on two: on_ranks.py FOLDER.

FOLDER holds cases.json. A case is the values of a `recipe`, whose `trainer.devices` says where it is trained; `resume`
names a checkpoint in the folder, `float64` trains in double precision whatever the strategy says of it. Each
leaves CASE.json there, with the exact loss of each step, and CASE.pt, with the gradients of the last one as the
optimizer had them, clipped; where the strategy has them as such.

A script of its own, which forks its ranks after the imports and before anything has started threads.
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
from forked import run_forked
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.distributed.tensor import DTensor

from seqrec.recipe import build, parse_recipe
from seqrec.stream import TrainingBatch
from seqrec.training.collectives import RankSum


class Recorder(Callback):
    def __init__(self) -> None:
        self.losses: list[float] = []
        self.gradients: dict[str, Tensor] = {}
        self._sum: Tensor | float = 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: TrainingBatch, batch_idx: int
    ) -> None:
        self._sum = outputs["loss_sum"].double() + (self._sum if batch.micro_batch else 0.0)
        if batch.micro_batch + 1 == trainer.accumulate_grad_batches:
            self.losses.append(float(RankSum(self._sum.clone()).wait() / outputs["targets"]))
            grads = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
            self.gradients = {name: g.full_tensor() if isinstance(g, DTensor) else g for name, g in grads.items()}


def train(name: str, case: dict[str, Any], folder: Path) -> Recorder:
    recorder = Recorder()
    trainer, module, data = build(parse_recipe(case["recipe"], where=name), folder / "runs" / name)
    trainer.callbacks.insert(0, recorder)  # type: ignore[attr-defined]
    if case.get("float64"):
        module.double()
    trainer.fit(module, data, ckpt_path=str(folder / case["resume"]) if "resume" in case else None)
    return recorder


def on_process(rank: int | None, cases: dict[str, Any], folder: Path) -> None:
    """A rank of two, or the one process where it is None."""
    torch.set_num_threads(1)
    if rank is not None:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
            "GROUP_WORLD_SIZE": "1",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "TORCHELASTIC_RUN_ID": "test",
        }  # fmt: skip
        meeting = dist.FileStore(str(folder / "meeting"), 2)
        dist.init_process_group("gloo", store=meeting, rank=rank, world_size=2)
    for name, case in cases.items():
        if case["recipe"]["trainer"]["devices"] == (1 if rank is None else 2):
            recorder = train(name, case, folder)
            if not rank:
                (folder / f"{name}.json").write_text(json.dumps(recorder.losses))
                torch.save(recorder.gradients, folder / f"{name}.pt")


def main(folder: Path) -> None:
    cases = json.loads((folder / "cases.json").read_text())
    run_forked(on_process, [(rank, cases, folder) for rank in (None, 0, 1)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
