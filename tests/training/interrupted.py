"""Runs that end as in a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import Callback

from seqrec.recipe import Recipe, Run, build


class _StopAt(Callback):
    def __init__(self, step: int):
        self._step = step

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self._step:
            raise InterruptedError


def fit_until(step: int, recipe: Recipe, *, runs: Path) -> Run:
    """Trains until so many steps are done; `fit` goes on from what the run then holds."""
    run = Run(runs / recipe.name)
    run.claim(recipe)
    parts = build(recipe, run.folder)
    parts.trainer.callbacks.append(_StopAt(step))  # type: ignore[attr-defined]
    with pytest.raises(InterruptedError):
        parts.trainer.fit(parts.module, parts.data)
    return run
