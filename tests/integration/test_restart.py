"""Runs that stop and go on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seqrec.recipe import Run
from seqrec.training import read_checkpoint

from .command import run, seqrec


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(Run(run).last.state)["state_dict"]


@pytest.mark.parametrize("adapter", [None, {"kind": "adalora", "initial_rank": 4, "target_rank": 2, "interval": 1}])
def test_resumed_run_ends_with_the_undisturbed_weights(
    write_recipe: Callable[..., Path], recipe_values: dict[str, Any], tmp_path: Path, adapter: dict | None
) -> None:
    model = recipe_values["model"] | {"adapter": adapter}
    # total steps decide AdaLoRA's schedule, so the stopped run must plan for all four epochs
    steps = {"trainer": recipe_values["trainer"] | {"max_epochs": 4}, "selection": {"patience": None}, "model": model}
    recipe = write_recipe(**steps)
    seqrec("fit", recipe, "name=whole", cwd=tmp_path)
    killed = tmp_path / "killer.py"
    killed.write_text(KILLER)
    done = run([sys.executable, str(killed), str(recipe)], cwd=tmp_path, check=False)
    assert done.returncode == -9, done.stderr
    assert not (tmp_path / "runs/stopped/result.json").exists()
    again = seqrec("fit", recipe, "name=stopped", cwd=tmp_path)
    assert "runs/stopped" in again.stderr
    whole, stopped = weights(tmp_path / "runs/whole"), weights(tmp_path / "runs/stopped")
    assert whole.keys() == stopped.keys()
    for name, weight in whole.items():
        torch.testing.assert_close(stopped[name], weight, rtol=0, atol=0, msg=name)
    result = json.loads((tmp_path / "runs/stopped/result.json").read_text())
    assert result["epochs"] == 4


def test_run_goes_on_with_another_number_of_ranks(
    write_recipe: Callable[..., Path], recipe_values: dict[str, Any], store_in_units: Path, tmp_path: Path
) -> None:
    """Killed on two ranks with one micro-batch a step, resumed on one with two; dropout is on."""
    model = recipe_values["model"] | {"backbone": recipe_values["model"]["backbone"] | {"dropout": 0.2}}
    data = recipe_values["data"] | {"partitions": 2, "store": str(store_in_units)}
    trainer = {"trainer": recipe_values["trainer"] | {"max_epochs": 4, "precision": "64-true"}}
    two = trainer["trainer"] | {"devices": 2, "strategy": "ddp"}
    recipe = write_recipe(model=model, data=data, **trainer)
    seqrec("fit", recipe, "name=whole", cwd=tmp_path)
    killer = tmp_path / "killer.py"
    killer.write_text(KILLER)
    recipe = write_recipe(model=model, data=data, trainer=two)
    done = run([sys.executable, str(killer), str(recipe)], cwd=tmp_path, check=False)
    assert done.returncode == -9, done.stderr
    seqrec("fit", write_recipe(model=model, data=data, **trainer), "name=stopped", cwd=tmp_path)
    whole, stopped = weights(tmp_path / "runs/whole"), weights(tmp_path / "runs/stopped")
    for name, weight in whole.items():
        torch.testing.assert_close(stopped[name], weight, rtol=1e-9, atol=1e-12, msg=name)


KILLER = """
import os, signal, sys
os.environ["OMP_NUM_THREADS"] = "1"
import torch
torch.set_num_threads(1)
from lightning.pytorch.callbacks import Callback
import seqrec.training.module as module
from seqrec.recipe import fit, load_recipe

class Kill(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == 2 and batch_idx == 2:  # in mid-epoch, after two checkpoints
            os.kill(os.getpid(), signal.SIGKILL)

configured = module.SequenceRecommender.configure_callbacks
module.SequenceRecommender.configure_callbacks = lambda self: [*configured(self), Kill()]
fit(load_recipe(sys.argv[1], ["name=stopped"]))
"""


AHEAD = """
import os, sys, time
if os.environ["RANK"] == "0":
    time.sleep(float(sys.argv.pop()))  # the other process has read the run folder long before
else:
    sys.argv.pop()
from seqrec.cli import main
main()
"""


def test_under_torchrun_a_process_may_be_ahead_of_the_one_that_empties_the_folder(
    write_recipe: Callable[..., Path], recipe_values: dict[str, Any], tmp_path: Path
) -> None:
    """With what an old run left there: its checkpoint and result, and no id yet of the new run."""
    recipe = write_recipe(loggers=[{"kind": "csv"}, {"kind": "wandb", "project": "tests", "offline": True}])
    devices = ["trainer.devices=2", "trainer.strategy=ddp"]
    seqrec("fit", recipe, *devices, cwd=tmp_path)
    folder = tmp_path / "runs/tiny"
    old = weights(folder)
    (folder / "result.json").unlink()
    (tmp_path / "ahead.py").write_text(AHEAD)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "ahead.py", "fit"]
    run([*torchrun, str(recipe), *devices, "--fresh", "5"], cwd=tmp_path, OMP_NUM_THREADS="1")
    result = json.loads((folder / "result.json").read_text())
    assert result["epochs"] == 2
    assert len(list((folder / "wandb").glob("offline-run-*"))) == 1
    new = weights(folder)
    assert all(
        torch.equal(old[name], new[name]) for name in old
    )  # from the beginning, not from where the old one ended


def test_changed_recipe_is_refused_by_name(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    recipe = write_recipe()
    seqrec("fit", recipe, cwd=tmp_path)
    done = seqrec("fit", recipe, "optimizer.lr=0.5", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "optimizer.lr: 0.01 → 0.5" in done.stderr
    assert "--fresh" in done.stderr
    seqrec("fit", recipe, "optimizer.lr=0.5", "--fresh", cwd=tmp_path)


def test_finished_run_is_left_alone(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    recipe = write_recipe()
    seqrec("fit", recipe, cwd=tmp_path)
    state = Run(tmp_path / "runs/tiny").last.state
    before = state.stat().st_mtime_ns
    seqrec("fit", recipe, cwd=tmp_path)
    assert state.stat().st_mtime_ns == before
