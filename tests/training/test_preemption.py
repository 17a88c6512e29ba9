"""A run in this process that is sent a signal; on two processes: tests/integration/test_loggers.py."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import Callback

from seqrec.errors import PreemptedError
from seqrec.recipe import Recipe, build, parse_recipe
from seqrec.training import best_of, checkpoints_in
from seqrec.training.preemption import SIGNALS


class Send(Callback):
    """Sends this process a signal at the end of a micro-batch."""

    def __init__(self, number: signal.Signals, step: int):
        self._number, self._step = number, step

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self._step and batch.micro_batch == 0:
            os.kill(os.getpid(), self._number)


@pytest.fixture
def recipe(recipe_values: dict[str, Any], store_in_units: Path) -> Recipe:
    """Two epochs of ten steps of two micro-batches."""
    data = recipe_values["data"] | {"store": str(store_in_units), "partitions": 2, "step_tokens": 150}
    values = recipe_values | {"data": data, "selection": {"patience": None, "save_every_steps": None}}
    return parse_recipe(values | {"loggers": []}, where="test")


def saved_steps(folder: Path) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoints_in(folder / "checkpoints")]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_training_at_a_step_with_a_checkpoint(
    recipe: Recipe, tmp_path: Path, number: signal.Signals
) -> None:
    """Asked for within step 3, in the sum of step 4, read in step 5, which is saved whole."""
    before = [signal.getsignal(each) for each in SIGNALS]
    trainer, module, data = build(recipe, tmp_path)
    trainer.callbacks.append(Send(number, 2))
    with pytest.raises(PreemptedError, match="saved after step 5\n") as error:
        trainer.fit(module, data)
    assert error.value.exit_code == 75
    assert saved_steps(tmp_path) == [5]
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_lightning_does_not_ask_in_each_step_for_a_signal_that_it_no_longer_hears(
    recipe: Recipe, tmp_path: Path
) -> None:
    """A broadcast that all ranks wait for, and on an accelerator the device with them."""
    asked: list[bool] = []

    class Look(Callback):
        def on_train_batch_start(self, trainer: L.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
            asked.append("_broadcast_sigterm_tensor" not in vars(trainer.fit_loop.epoch_loop))

    trainer, module, data = build(recipe, tmp_path)
    loop = trainer.fit_loop.epoch_loop
    assert callable(type(loop)._broadcast_sigterm_tensor)  # by this name Lightning looks it up
    trainer.callbacks.append(Look())
    trainer.fit(module, data)
    assert asked
    assert not any(asked)
    assert "_broadcast_sigterm_tensor" not in vars(loop)  # another training with the same Trainer is Lightning's own


def test_a_validation_is_not_lost(recipe: Recipe, tmp_path: Path) -> None:
    """Where it follows the step at which training would stop, it comes first, and with the epoch's end it is saved."""
    trainer, module, data = build(recipe, tmp_path)
    n_steps = data.training.n_steps
    trainer.callbacks.append(Send(signal.SIGTERM, n_steps - 3))
    with pytest.raises(PreemptedError, match=f"saved after step {n_steps}\n"):
        trainer.fit(module, data)
    assert saved_steps(tmp_path) == [n_steps]
    best = best_of(tmp_path / "checkpoints")
    assert best is not None
    assert best.step == n_steps


def test_a_run_that_ends_first_has_ended(recipe: Recipe, tmp_path: Path) -> None:
    trainer, module, data = build(recipe, tmp_path)
    total = 2 * data.training.n_steps
    trainer.callbacks.append(Send(signal.SIGTERM, total - 1))
    trainer.fit(module, data)
    assert trainer.global_step == total
