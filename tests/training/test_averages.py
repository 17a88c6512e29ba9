"""Averages of weights: against ones by hand, and in runs that are cut and continued."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from seqrec.errors import UnsupportedError
from seqrec.recipe import build, parse_recipe
from seqrec.training import read_checkpoint

DECAY = 0.8


class ByHand(Callback, ABC):
    """An average of its own, which is what is to be validated."""

    def __init__(self) -> None:
        self.average: dict[str, Tensor] = {}
        self.validated = 0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.global_step:
            return  # a continued run, whose average does not begin with its weights
        self.average = {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}

    @abstractmethod
    def step(self, name: str, weight: Tensor, before: Tensor) -> Tensor:
        """The average after a step."""

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        for name, p in module.named_parameters():
            if name in self.average:
                self.average[name] = self.step(name, p.detach(), self.average[name])

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.validated += 1
        for name, weight in self.average.items():  # the module's callbacks come later, and have yet to swap back
            torch.testing.assert_close(dict(module.named_parameters())[name].detach(), weight)


class MovingByHand(ByHand):
    def step(self, name: str, weight: Tensor, before: Tensor) -> Tensor:
        return DECAY * before + (1 - DECAY) * weight


class ScheduleFreeByHand(ByHand):
    """Schedule-free AdamW with a constant rate, as its paper writes it: x the average, z the running weights.

    y = (1 - β₁) z + β₁ x,  v = β₂ v + (1 - β₂) g²,  z = z - γ (g / (√v̂ + ε) + λ y),  x = (1 - 1/t) x + z / t
    """

    def __init__(self) -> None:
        super().__init__()
        self.running: dict[str, Tensor] = {}
        self.squares: dict[str, Tensor] = {}
        self.done = 0

    def on_before_optimizer_step(
        self, trainer: L.Trainer, module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """The optimiser overwrites gradients."""
        if not self.average:
            return
        self.done += 1
        for name, p in module.named_parameters():
            if p.grad is None:
                continue
            z, v = self.running.get(name, self.average[name]), self.squares.get(name, torch.zeros_like(p))
            v = 0.98 * v + 0.02 * p.grad**2
            corrected = (v / (1 - 0.98**self.done)).sqrt() + 1e-8
            self.running[name] = z - 0.01 * (p.grad / corrected + 0.1 * p.detach())
            self.squares[name] = v

    def step(self, name: str, weight: Tensor, before: Tensor) -> Tensor:
        average = before + (self.running[name] - before) / self.done
        torch.testing.assert_close(weight, 0.9 * average + 0.1 * self.running[name])
        return average


KINDS: dict[str, tuple[type[ByHand], dict[str, Any]]] = {
    "ema": (MovingByHand, {"ema": DECAY}),
    "schedule-free": (ScheduleFreeByHand, {"kind": "schedule_free_adamw", "betas": [0.9, 0.98], "weight_decay": 0.1}),
}


def fit(values: dict[str, Any], kind: str, folder: Path, steps: int, resume: Path | None = None) -> tuple[ByHand, Path]:
    by_hand_kind, settings = KINDS[kind]
    optimizer = values["optimizer"] | settings
    backbone = values["model"]["backbone"] | {"trainable": False}
    changed = {
        "optimizer": optimizer,
        "model": values["model"] | {"backbone": backbone, "adapter": {"kind": "lora", "rank": 2}},
        "trainer": values["trainer"] | {"max_epochs": 9, "max_steps": steps},
        "loggers": [],
    }
    trainer, module, data = build(parse_recipe(values | changed, where="test"), folder)
    by_hand = by_hand_kind()
    trainer.callbacks.insert(0, by_hand)  # type: ignore[attr-defined]
    trainer.fit(module, data, ckpt_path=resume)
    trainer.save_checkpoint(folder / "end.ckpt")
    return by_hand, folder / "end.ckpt"


@pytest.mark.parametrize("kind", KINDS)
def test_the_average_is_validated_and_saved_and_goes_on(
    recipe_values: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    by_hand, end = fit(recipe_values, kind, tmp_path / "whole", 7)
    assert by_hand.validated
    whole = read_checkpoint(end)
    for name, weight in by_hand.average.items():
        torch.testing.assert_close(whole["state_dict"][name], weight)
        assert not torch.equal(whole["trained_weights"][name], weight)
    _, cut = fit(recipe_values, kind, tmp_path / "cut", 3)
    continued = read_checkpoint(fit(recipe_values, kind, tmp_path / "continued", 7, resume=cut)[1])
    for part in ("state_dict", "trained_weights"):
        assert continued[part].keys() == whole[part].keys()
        assert all(torch.equal(continued[part][name], weight) for name, weight in whole[part].items())


@pytest.mark.parametrize(("field", "value"), [("ema", 0.9), ("kind", "schedule_free_adamw")])
def test_adalora_is_refused(recipe_values: dict[str, Any], tmp_path: Path, field: str, value: float | str) -> None:
    changed = {
        "model": recipe_values["model"] | {"adapter": {"kind": "adalora"}},
        "optimizer": {field: value},
        "selection": {"patience": None},
    }
    with pytest.raises(UnsupportedError, match=rf"optimizer\.{field}.*: AdaLoRA sets"):
        build(parse_recipe(recipe_values | changed, where="test"), tmp_path)
