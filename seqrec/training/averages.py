"""Averages of the trained weights, which are validated and saved in the weights' place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from schedulefree import AdamWScheduleFree
from torch import Tensor

from seqrec.stream import TrainingBatch


class AveragedWeights(Callback, ABC):
    """Validates averages of the trained weights, and saves them in the weights' place.

    A checkpoint has the averages in the place of the weights, and beside them the weights to continue from, bit for
    bit. Unlike Lightning's `WeightAveraging`, it keeps no second copy of frozen weights, in memory or in checkpoints.
    """

    def __init__(self) -> None:
        self._beside: dict[str, Tensor] = {}  # while validating, the weights

    @abstractmethod
    def averages(self, trainer: L.Trainer, module: L.LightningModule) -> dict[str, Tensor]:
        """The averages by the names of the weights; none where Lightning validates before training starts."""

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._beside = self.averages(trainer, pl_module)
        _exchange(pl_module, self._beside)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        _exchange(pl_module, self._beside)
        self._beside = {}

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        state, averages = checkpoint["state_dict"], self.averages(trainer, pl_module)
        checkpoint["trained_weights"] = {name: state[name] for name in averages}
        checkpoint["state_dict"] = {**state, **averages}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Lightning has loaded the averages into the module by now."""
        for name, weight in _trained(pl_module).items():
            weight.copy_(checkpoint["trained_weights"][name])


class MovingAverage(AveragedWeights):
    """After each step moves an exponential average towards the weights.

    Args:
        decay: how much of the average a step leaves, 0..1.
    """

    def __init__(self, decay: float):
        super().__init__()
        self._decay = decay
        self._average: dict[str, Tensor] = {}
        self._done = 0

    def averages(self, trainer: L.Trainer, module: L.LightningModule) -> dict[str, Tensor]:
        return self._average

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

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(trainer, pl_module, checkpoint)
        self._average = {name: checkpoint["state_dict"][name] for name in checkpoint["trained_weights"]}


class ScheduleFreeAverage(AveragedWeights):
    """The average that a schedule-free optimiser moves along, which it makes of the weights and a state of its own.

    The optimiser turns weights into averages in place, and back with rounding; so the weights are put back from a copy.
    """

    def averages(self, trainer: L.Trainer, module: L.LightningModule) -> dict[str, Tensor]:
        (optimizer,) = trainer.optimizers
        assert isinstance(optimizer, AdamWScheduleFree)
        weights = _trained(module)
        kept = {name: weight.clone() for name, weight in weights.items()}
        optimizer.eval()
        averages = {name: weight.clone() for name, weight in weights.items()}
        optimizer.train()
        for name, weight in weights.items():
            weight.copy_(kept[name])
        return averages


def _exchange(module: L.LightningModule, beside: dict[str, Tensor]) -> None:
    weights = _trained(module)
    for name, other in beside.items():
        kept = other.clone()
        other.copy_(weights[name])
        weights[name].copy_(kept)


def _trained(module: L.LightningModule) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
