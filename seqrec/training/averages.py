"""An exponential moving average of the trained weights."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from seqrec.stream import TrainingBatch


class AverageWeights(Callback):
    """After each step moves an average towards the weights; the average is what is validated, and the result.

    A checkpoint has the average in the place of the weights, and beside it the weights to continue from. Unlike
    Lightning's `EMAWeightAveraging`, it keeps no second copy of frozen weights, in memory or in checkpoints.

    Args:
        decay: how much of the average a step leaves, 0..1.
    """

    def __init__(self, decay: float):
        self._decay = decay
        self._average: dict[str, Tensor] = {}
        self._done = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._done = trainer.global_step
        weights = _trained(pl_module)
        self._average = {name: self._average.get(name, w).to(w, copy=True) for name, w in weights.items()}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: TrainingBatch, batch_idx: int
    ) -> None:
        if trainer.global_step > self._done:
            self._done = trainer.global_step
            weights = _trained(pl_module)
            torch._foreach_lerp_(list(self._average.values()), list(weights.values()), 1 - self._decay)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._swap(pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._swap(pl_module)

    def _swap(self, module: L.LightningModule) -> None:
        if not self._average:  # Lightning validates a little before training starts
            return
        for name, weight in _trained(module).items():
            average = self._average[name].clone()
            self._average[name].copy_(weight)
            weight.copy_(average)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["state_dict"]
        checkpoint["trained_weights"] = {name: state[name] for name in self._average}
        checkpoint["state_dict"] = {**state, **self._average}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Lightning has loaded the average into the module by now."""
        weights = checkpoint["trained_weights"]
        self._average = {name: checkpoint["state_dict"][name] for name in weights}
        for name, weight in _trained(pl_module).items():
            weight.copy_(weights[name])


def _trained(module: L.LightningModule) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
