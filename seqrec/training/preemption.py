"""Preemption: a scheduler's signal, a flag, agreement of all ranks, a checkpoint at the end of a step, the end."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from seqrec.errors import PreemptedError
from seqrec.stream import TrainingBatch
from seqrec.training.collectives import LateValue

# Kubernetes, torchrun and `scontrol requeue` send the first, launch/slurm.sbatch the second before the time limit
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopOnSignal(Callback):
    """Ends training at the end of a step after SIGTERM or SIGUSR1, on all ranks at the same one, with a checkpoint.

    The handler only raises a flag: a checkpoint saved in it would hold half a step, and a collective there would meet
    another one of the main program. The flag travels in the sum that each step makes anyway, and is read a step later,
    so that no device is waited for. `KeepCheckpoints` saves where `due` is true; the next step then does not begin.
    """

    def __init__(self) -> None:
        self.due = False
        self._saved = False
        self._stops: LateValue | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Later than Lightning, whose own handler of SIGTERM waits for other ranks; it puts all handlers back."""
        if threading.current_thread() is not threading.main_thread():
            return  # Python allows handlers in the main thread only

        def request_stop(number: int, frame: FrameType | None) -> None:
            pl_module.stop_requested = True  # type: ignore[assignment]

        for number in SIGNALS:
            signal.signal(number, request_stop)
        # Lightning would tell all ranks in every step, and wait, whether its handler, which is gone, has been called
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _tell_nobody  # type: ignore[method-assign]

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: TrainingBatch, batch_idx: int
    ) -> None:
        if self._saved:
            raise PreemptedError(
                f"told to stop, and saved after step {trainer.global_step:,}",
                do="start the same command again to go on",
            )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: TrainingBatch, batch_idx: int
    ) -> None:
        if batch.micro_batch == 0:
            self.due = self._stops is not None and self._stops.read() > 0
            self._stops = LateValue(outputs["stops"])

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        trainer.fit_loop.epoch_loop.__dict__.pop("_broadcast_sigterm_tensor", None)

    def saved(self) -> None:
        """To be called when a checkpoint to continue from holds what has been done: the next step need not begin."""
        self._saved = self.due


def _tell_nobody() -> None:
    """In the place of a broadcast."""
