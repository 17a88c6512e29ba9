"""The moving average of weights: against one by hand, and in a run that is cut and continued."""

from __future__ import annotations

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


class ByHand(Callback):
    def __init__(self) -> None:
        self.average: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.global_step:
            return  # a continued run, whose average does not begin with its weights
        self.average = {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        for name, p in module.named_parameters():
            if name in self.average:
                self.average[name] = DECAY * self.average[name] + (1 - DECAY) * p.detach()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        for name, weight in self.average.items():  # the module's callbacks come later, and have yet to swap back
            torch.testing.assert_close(dict(module.named_parameters())[name].detach(), weight)


def fit(values: dict[str, Any], folder: Path, steps: int, resume: Path | None = None) -> tuple[ByHand, Path]:
    optimizer = values["optimizer"] | {"ema": DECAY}
    backbone = values["model"]["backbone"] | {"trainable": False}
    changed = {
        "optimizer": optimizer,
        "model": values["model"] | {"backbone": backbone, "adapter": {"kind": "lora", "rank": 2}},
        "trainer": values["trainer"] | {"max_epochs": 9, "max_steps": steps},
        "loggers": [],
    }
    trainer, module, data = build(parse_recipe(values | changed, where="test"), folder)
    by_hand = ByHand()
    trainer.callbacks.insert(0, by_hand)  # type: ignore[attr-defined]
    trainer.fit(module, data, ckpt_path=resume)
    trainer.save_checkpoint(folder / "end.ckpt")
    return by_hand, folder / "end.ckpt"


def test_the_average_is_validated_and_saved_and_goes_on(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    by_hand, end = fit(recipe_values, tmp_path / "whole", 7)
    whole = read_checkpoint(end)
    for name, weight in by_hand.average.items():
        torch.testing.assert_close(whole["state_dict"][name], weight)
        assert not torch.equal(whole["trained_weights"][name], weight)
    _, cut = fit(recipe_values, tmp_path / "cut", 3)
    continued = read_checkpoint(fit(recipe_values, tmp_path / "continued", 7, resume=cut)[1])
    for part in ("state_dict", "trained_weights"):
        assert continued[part].keys() == whole[part].keys()
        assert all(torch.equal(continued[part][name], weight) for name, weight in whole[part].items())


def test_adalora_is_refused(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    changed = {
        "model": recipe_values["model"] | {"adapter": {"kind": "adalora"}},
        "optimizer": {"ema": 0.9},
        "selection": {"patience": None},
    }
    with pytest.raises(UnsupportedError, match=r"optimizer\.ema: AdaLoRA sets"):
        build(parse_recipe(recipe_values | changed, where="test"), tmp_path)
