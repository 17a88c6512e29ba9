"""The `seqrec` command, logging what training consumes and killed where the environment says.

CONSUMED: folder for one file a process, with a line for each micro-batch as soon as it is trained on.
KILL: RANK:STEP:MICRO_BATCH, where that rank of the run gets SIGKILL; ranks may be several, as 0,1:12:0.
HOLD: STEP, where the run waits until rank 0 is told to stop, or killed, or CONSUMED holds a file `go-on`.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import lightning as L

from seqrec.cli import main
from seqrec.stream import TrainingBatch
from seqrec.training import StepMetrics


class LoggedMetrics(StepMetrics):
    """In the place of a callback that every run has, so that the command stays the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self._file = (Path(os.environ["CONSUMED"]) / f"{uuid.uuid4().hex}.jsonl").open("w")
        ranks, _, at = os.environ.get("KILL", "").partition(":")
        self._dies_at = at if os.environ.get("LOCAL_RANK", "0") in ranks.split(",") else None

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
        if trainer.global_rank == 0 and os.environ.get("HOLD") == str(step):
            go_on = Path(os.environ["CONSUMED"]) / "go-on"
            while not (pl_module.stop_requested or go_on.exists()):
                time.sleep(0.05)


if __name__ == "__main__":
    # the name `seqrec.recipe.build` is that of a function too
    importlib.import_module("seqrec.recipe.build").StepMetrics = LoggedMetrics  # type: ignore[attr-defined]
    sys.exit(main())
