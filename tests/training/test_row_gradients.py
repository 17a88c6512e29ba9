"""Sparse gradients of the item table over real processes, clipping, refusals, and resuming with them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, ModelParallelStrategy, Strategy
from torch import nn

from seqrec.errors import UnsupportedError
from seqrec.recipe import build, build_data, fit, parse_recipe
from seqrec.training import read_checkpoint
from seqrec.training.clipping import clip_gradients
from seqrec.training.row_gradients import AverageRowGradients

from .interrupted import fit_until

SCRIPT = Path(__file__).with_name("rows_on_ranks.py")


def test_ranks_agree_on_negatives_and_on_the_mean_gradient(store_in_units: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(store_in_units), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (alone,), two, three = json.loads(done.stdout.splitlines()[-1]).values()
    assert (len(two), len(three)) == (2, 3)
    assert max(len(items) for items in alone["sets"]) == 12
    assert len({tuple(items) for items in alone["sets"]}) == 5
    for result in (*two, *three):
        assert result["sets"] == alone["sets"]
        assert result["table"] == [[0, 0], [0, 0]]  # as on rank 0
    # rank r gives (1, 2) + (5, 6) to row r and (3, 4) to row r + 1
    assert alone["mean"] == [[6, 8], [3, 4], [0, 0], [0, 0], [0, 0]]
    assert [result["mean"] for result in two] == [[[3, 4], [1.5, 2], [0, 0], [0, 0], [0, 0]]] * 2
    for result in three:
        assert result["mean"] == three[0]["mean"]
        expected = torch.tensor([[6.0, 8], [9, 12], [3, 4], [0, 0], [0, 0]]) / 3
        torch.testing.assert_close(torch.tensor(result["mean"]), expected)


@pytest.mark.parametrize("algorithm", ["norm", "value", None])
@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_clipping_is_torchs(algorithm: str | None, limit: float) -> None:
    table, bias = nn.Parameter(torch.zeros(5, 2)), nn.Parameter(torch.zeros(3))
    table.grad = torch.zeros(5, 2)
    table.grad[1], table.grad[4] = torch.tensor([3.0, -4.0]), torch.tensor([0.1, 0.2])
    bias.grad = torch.tensor([1.0, -2.0, 0.3])
    ours = [table.grad.to_sparse(1), bias.grad.clone()]
    clip_gradients(ours, limit, algorithm)
    if algorithm == "value":
        torch.nn.utils.clip_grad_value_([table, bias], limit)
    else:
        torch.nn.utils.clip_grad_norm_([table, bias], limit)
    assert torch.equal(ours[0].to_dense(), table.grad)
    assert torch.equal(ours[1], bias.grad)


def trainer() -> L.Trainer:
    return L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)


@pytest.mark.parametrize("strategy", [DeepSpeedStrategy, ModelParallelStrategy])
def test_other_strategies_are_refused(strategy: type[Strategy]) -> None:
    """Also those that Lightning counts as ddp, as DeepSpeed's, which is not started here for want of a GPU."""
    held = trainer()
    callback = AverageRowGradients(nn.Parameter(torch.zeros(1, 1)))
    callback.setup(held, L.LightningModule(), "fit")
    held._accelerator_connector.strategy = strategy.__new__(strategy)
    with pytest.raises(UnsupportedError, match=f"(?s)table_updates: .*under {strategy.__name__}.*`all`.*`ddp`"):
        callback.setup(held, L.LightningModule(), "fit")


def test_loss_scaling_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(L.Trainer, "precision", "16-mixed")  # which Lightning has on a GPU only
    with pytest.raises(UnsupportedError, match=r"(?s)table_updates: .*16-mixed.*bf16-mixed"):
        AverageRowGradients(nn.Parameter(torch.zeros(1, 1))).setup(trainer(), L.LightningModule(), "fit")


def recipe_of(values: dict[str, Any], **sections: Any) -> Any:
    loss = {"kind": "sampled_softmax", "negatives": {"uniform": 4, "in_batch": 4}}
    changes = {"model": values["model"] | {"loss": loss}, "optimizer": {"lr": 0.01, "table_updates": "rows"}}
    return parse_recipe(values | changes | sections, where="test")


def test_a_full_softmax_is_refused_before_training(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    recipe = recipe_of(recipe_values, model=recipe_values["model"])
    with pytest.raises(UnsupportedError, match=r"optimizer.table_updates: FullSoftmax gives every row"):
        build(recipe, tmp_path)


def test_a_run_of_rows_goes_on_with_the_weights_and_averages_of_one_that_was_not_stopped(
    recipe_values: dict[str, Any], tmp_path: Path
) -> None:
    whole = fit(recipe_of(recipe_values, name="whole"), runs=tmp_path)
    recipe = recipe_of(recipe_values, name="stopped")
    run = fit_until(build_data(recipe).training.n_steps + 1, recipe, runs=tmp_path)
    fit(recipe, runs=tmp_path)
    one, other = (read_checkpoint(r.last) for r in (whole, run))
    for name, weight in one["state_dict"].items():
        assert torch.equal(other["state_dict"][name], weight), name
    states = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (one, other)]
    assert states[0].keys() == states[1].keys()
    for key, state in states[0].items():
        assert all(torch.equal(value, states[1][key][name]) for name, value in state.items())
