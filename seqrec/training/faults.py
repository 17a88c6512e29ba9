"""What a run does when something goes wrong: the `faults` section of a recipe, and losses that are not finite."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DeepSpeedStrategy
from pydantic import Field
from torch.optim import Optimizer

from seqrec.errors import TrainingError, UnsupportedError
from seqrec.settings import Settings
from seqrec.training.collectives import RankSum

SKIPPED = "skipped_steps"
logger = logging.getLogger(__name__)


class FaultSettings(Settings):
    """What is done about faults."""

    nonfinite_loss: Literal["stop", "skip"] = Field(
        "stop",
        description="When the loss of a step is NaN or infinite: `stop` with an error, before the optimiser's step; "
        "or `skip` that step's update on all ranks, and count it.",
    )
    timeout_s: int = Field(
        1800,
        ge=1,
        description="Seconds that ranks wait for one another before the run ends with an error that names the missing "
        "ones; longer than the slowest save of a checkpoint.",
    )


def limit_waiting(trainer: L.Trainer, seconds: int) -> None:
    """Sets the time-out of the process group that a Trainer is to make, where its strategy makes one."""
    if hasattr(trainer.strategy, "_timeout"):  # what the constructors of DDP, ModelParallel and DeepSpeed set
        trainer.strategy._timeout = timedelta(seconds=seconds)


def longest_wait(trainer: L.Trainer) -> timedelta | None:
    """How long ranks wait for one another, as `limit_waiting` sets it; None where the strategy does not say."""
    timeout: timedelta | None = getattr(trainer.strategy, "_timeout", None)
    return timeout


class NonfiniteLoss(Callback):
    """Sees to it that a step whose loss is not finite changes no weight.

    The loss is the global batch's, summed over ranks and micro-batches while the backward pass runs, so that all ranks
    decide alike.

    Args:
        action: `stop` or `skip`.
    Raises:
        TrainingError: with `stop`, at such a step.
        UnsupportedError: `skip` under DeepSpeed.
    """

    def __init__(self, action: Literal["stop", "skip"]):
        self._action = action
        self.skipped = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self._action == "skip" and isinstance(trainer.strategy, DeepSpeedStrategy):
            raise UnsupportedError(
                "DeepSpeed keeps gradients to itself, so that a step's update cannot be left out",
                where="faults.nonfinite_loss",
                do="set it to `stop`, or take another `trainer.strategy`",
            )

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        summed: RankSum | None = pl_module.step_loss  # type: ignore[assignment]
        if summed is None or torch.isfinite(summed.wait()):  # none within a step, where DeepSpeed calls this too
            return
        loss = float(summed.wait())
        step = trainer.global_step
        if self._action == "stop":
            raise TrainingError(
                f"the loss is {loss}",
                where=f"step {step}",
                do="lower `optimizer.lr`, set `trainer.gradient_clip_val`, or go on without such steps: "
                "`faults.nonfinite_loss=skip`; the run stands at its last checkpoint",
            )
        self.skipped += 1
        if trainer.is_global_zero:
            logger.warning("step %d: the loss is %s, its update is left out (%d so far)", step, loss, self.skipped)
        for parameter in pl_module.parameters():
            parameter.grad = None  # optimisers pass over what has no gradient: no decay, no momentum either

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.skipped:
            pl_module.log(SKIPPED, float(self.skipped))

    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped = state_dict["skipped"]
