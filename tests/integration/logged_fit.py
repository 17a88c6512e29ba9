"""The `seqrec` command, logging what training consumes and killed where the environment says.

CONSUMED: folder for one file a process, with a line for each micro-batch as soon as it is trained on.
KILL: RANK:STEP:MICRO_BATCH, where that rank of the run gets SIGKILL; ranks may be several, as 0,1:12:0;
    not again where torchrun has started it again.
FAULT: KIND:STEP, what happens to rank 0 from that step on: `torn` is SIGKILL when a checkpoint's state is half written,
    `unnamed` when all of it is written but the name, `named` just after; `full` is a disk without room for a
    checkpoint; `nan` a loss that is NaN, in that step alone.
HOLD: STEP[,STEP], where the run waits until rank 0 is told to stop, or killed, or CONSUMED holds a file `go-on-STEP`.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import lightning as L
import torch

import seqrec.training.saving as saving
from seqrec.cli import main
from seqrec.models import SequenceModel
from seqrec.stream import TrainingBatch
from seqrec.training import SequenceRecommender, StepMetrics


class LoggedMetrics(StepMetrics):
    """In the place of a callback that every run has, so that the command stays the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self._file = (Path(os.environ["CONSUMED"]) / f"{uuid.uuid4().hex}.jsonl").open("w")
        ranks, _, at = os.environ.get("KILL", "").partition(":")
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
        self._dies_at = at if os.environ.get("LOCAL_RANK", "0") in ranks.split(",") and not again else None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: TrainingBatch, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        epoch, in_epoch = batch.position
        step = epoch * trainer.datamodule.training.n_steps + in_epoch  # type: ignore[attr-defined]
        line = {"epoch": epoch, "step": step, "rank": trainer.global_rank, "rows": batch.rows.tolist()}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._dies_at == f"{step}:{batch.micro_batch}":
            os.kill(os.getpid(), signal.SIGKILL)
        if trainer.global_rank == 0 and str(step) in os.environ.get("HOLD", "").split(","):
            go_on = Path(os.environ["CONSUMED"]) / f"go-on-{step}"
            while not (pl_module.stop_requested or go_on.exists()):
                time.sleep(0.05)


def break_saving(kind: str, step: int) -> None:
    """Puts the fault into the place where it would happen."""
    begin, commit = saving.begin, saving.commit

    def begin_and_fail(folder: Path, at: int) -> Path:
        temporary = begin(folder, at)
        if at >= step and kind == "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        if at >= step and kind == "torn":
            (temporary / "state").write_bytes(b"half of it")
            os.kill(os.getpid(), signal.SIGKILL)
        return temporary

    def commit_and_fail(temporary: Path, record: saving.Record) -> Any:
        if record.step >= step and kind == "unnamed":
            os.kill(os.getpid(), signal.SIGKILL)
        committed = commit(temporary, record)
        if record.step >= step and kind == "named":
            os.kill(os.getpid(), signal.SIGKILL)
        return committed

    saving.begin, saving.commit = begin_and_fail, commit_and_fail


def break_loss(step: int) -> None:
    """Makes this rank's loss NaN in one step."""
    train, loss = SequenceRecommender.training_step, SequenceModel.training_loss
    factor = 1.0

    def training_step(self: SequenceRecommender, batch: TrainingBatch, batch_idx: int) -> torch.Tensor:
        nonlocal factor
        factor = torch.nan if self.trainer.global_step == step else 1.0
        return train(self, batch, batch_idx)

    def training_loss(self: SequenceModel, *arguments: Any) -> torch.Tensor:
        return factor * loss(self, *arguments)

    SequenceRecommender.training_step = training_step  # type: ignore[method-assign]
    SequenceModel.training_loss = training_loss  # type: ignore[method-assign]


if __name__ == "__main__":
    # the name `seqrec.recipe.build` is that of a function too
    importlib.import_module("seqrec.recipe.build").StepMetrics = LoggedMetrics  # type: ignore[attr-defined]
    kind, _, at = os.environ.get("FAULT", "").partition(":")
    if kind and os.environ.get("LOCAL_RANK", "0") == "0":
        break_loss(int(at)) if kind == "nan" else break_saving(kind, int(at))
    sys.exit(main())
