"""Saving in the background, and what becomes of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils import _pytree as pytree

from seqrec.errors import RunError
from seqrec.recipe import Recipe, Run, build, fit, parse_recipe
from seqrec.training import checkpoints_in, read_checkpoint, saving

from .interrupted import fit_until


@pytest.fixture
def recipe(recipe_values: dict[str, Any]) -> Recipe:
    selection = {"patience": None, "save_every_steps": 2, "save_in_background": True, "keep": 99}
    return parse_recipe(recipe_values | {"selection": selection}, where="test")


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some steps are done before anything is written."""
    begin = saving.begin

    def begin_late(folder: Path, step: int) -> Path:
        time.sleep(0.3)
        return begin(folder, step)

    monkeypatch.setattr(saving, "begin", begin_late)


def test_what_is_saved_is_the_state_of_its_step(recipe: Recipe, tmp_path: Path, slow_disk: None) -> None:
    waited = recipe.model_copy(update={"selection": recipe.selection.model_copy(update={"save_in_background": False})})
    one, other = fit(recipe, runs=tmp_path / "background"), fit(waited, runs=tmp_path / "waited")
    assert [c.step for c in checkpoints_in(one.checkpoints)] == [c.step for c in checkpoints_in(other.checkpoints)]
    assert len(checkpoints_in(one.checkpoints)) > 3
    assert one.best.step == other.best.step
    for mine, its in zip(checkpoints_in(one.checkpoints), checkpoints_in(other.checkpoints), strict=True):
        assert mine.damage() is None
        states = [read_checkpoint(checkpoint.state) for checkpoint in (mine, its)]
        assert all(state["callbacks"].pop("TrainingTime")["seconds"] > 0 for state in states)  # no two take as long
        (found, shape), (expected, same) = map(pytree.tree_flatten, states)
        assert shape == same
        for value, known in zip(found, expected, strict=True):
            assert torch.equal(value, known) if isinstance(value, Tensor) else value == known


def test_a_failed_write_is_told_at_the_next_save(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "tiny/checkpoints").mkdir(parents=True)
    (tmp_path / "tiny/checkpoints/step-1.tmp").write_text("no folder, so that it cannot be emptied")
    steps = 0

    class Count(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            nonlocal steps
            steps = trainer.global_step

    run = Run(tmp_path / "tiny")
    run.claim(recipe)
    parts = build(recipe, run.folder)
    parts.trainer.callbacks.insert(0, Count())  # type: ignore[attr-defined]
    with pytest.raises(RunError, match=r"(?s)step-2: cannot save the checkpoint.*rank 0: +NotADirectoryError"):
        parts.trainer.fit(parts.module, parts.data)
    assert steps == 4
    assert not checkpoints_in(run.checkpoints)


def test_training_that_fails_lets_a_write_end(recipe: Recipe, tmp_path: Path, slow_disk: None) -> None:
    assert fit_until(3, recipe, runs=tmp_path).last.step == 2
