from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from seqrec.cli import app
from seqrec.errors import RecipeError, UnsupportedError
from seqrec.plan import find_device, plan_recipe
from seqrec.plan.workload import workload_of_budget, workload_of_store
from seqrec.recipe import parse_recipe


def test_an_unknown_device_is_refused_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"no device `h100`(.|\n)*did you mean `h100-80gb`"):
        find_device("h100")
    assert find_device("cpu").memory > 2**30


def test_without_a_store_the_catalogue_must_be_given(recipe_values: dict[str, Any]) -> None:
    recipe = parse_recipe(recipe_values | {"data": {"store": "nowhere"}}, where="test")
    with pytest.raises(RecipeError, match=r"nowhere(.|\n)*--items"):
        plan_recipe(recipe, device="cpu")


def test_a_model_that_cannot_be_built_says_why(recipe_values: dict[str, Any]) -> None:
    values = recipe_values | {"model": recipe_values["model"] | {"head": {"kind": "masked_item"}}}
    with pytest.raises(UnsupportedError, match="bidirectional"):
        plan_recipe(parse_recipe(values, where="test"), device="l4-24gb", n_items=100)


def test_the_budget_gives_batches_like_the_store(recipe_values: dict[str, Any]) -> None:
    recipe = parse_recipe(recipe_values, where="test")
    for world_size in (1, 2):
        store, budget = workload_of_store(recipe, world_size), workload_of_budget(recipe, world_size, 60)
        assert store.rows * store.length == pytest.approx(budget.rows * budget.length, rel=0.35)
        assert (store.n_items, store.length, store.micro_batches) == (60, 20, 1)
        assert 0 < store.targets <= store.rows * store.length


def test_the_verb_plans_a_recipe(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    options = ["--device", "h100-80gb", "--nodes", "2", "--devices", "4", "--items", "5000", "--json", str(file)]
    overrides = ["model.adapter={kind: adalora}", "selection.patience=null"]
    result = CliRunner().invoke(app, ["plan", str(write_recipe()), *overrides, *options])
    assert result.exit_code == 0, result.output
    plan = json.loads(file.read_text())
    assert plan["world_size"] == 8
    assert plan["parameters"]["item_table"] == 5000 * 16
    assert [row["strategy"] for row in plan["rows"]] == ["ddp", "ddp"]  # recomputed or not
    assert "adalora" in plan["refused"]["fsdp2"]
    for row in plan["rows"]:
        assert row["memory"].pop("total") == sum(row["memory"].values())
        assert row["fits"]
    assert "trainer.strategy=ddp" in result.output
    assert "not possible" in result.output


def test_what_does_not_fit_is_not_recommended(recipe_values: dict[str, Any]) -> None:
    recipe = parse_recipe(recipe_values, where="test")
    small, large = (plan_recipe(recipe, device="rtx-4090-24gb", devices=8, n_items=n) for n in (5_000, 100_000_000))
    assert small.recommended is not None
    assert {row.strategy for row in small.rows if row.fits} > {"ddp", "fsdp2"}
    assert "ddp" not in {row.strategy for row in large.rows if row.fits}
    assert large.recommended is None or large.recommended.fits


def test_one_device_shares_with_nobody_but_its_host(recipe_values: dict[str, Any]) -> None:
    plan = plan_recipe(parse_recipe(recipe_values, where="test"), device="a100-40gb", n_items=1_000)
    assert {row.strategy.partition("_offload")[1] or row.strategy for row in plan.rows} == {"auto", "_offload"}
    assert plan.recommended == plan.rows[0]
    assert all(row.cost.traffic == 0 for row in plan.rows)


def test_an_average_holds_the_table_however_it_is_updated(recipe_values: dict[str, Any]) -> None:
    loss = {"kind": "sampled_softmax", "negatives": {"uniform": 8}}
    values = recipe_values | {"model": recipe_values["model"] | {"loss": loss}}
    found = {}
    for ema in (None, 0.9):
        optimizer = recipe_values["optimizer"] | {"table_updates": "rows", "ema": ema}
        recipe = parse_recipe(values | {"optimizer": optimizer}, where="test")
        rows = plan_recipe(recipe, device="cpu", n_items=1_000_000).rows
        found[ema] = next(row.memory.total for row in rows if row.strategy == "auto")
    assert found[0.9] - found[None] == pytest.approx(1_000_000 * 16 * 4, rel=0.01)


def test_outcomes_are_planned_from_the_budget(recipe_values: dict[str, Any]) -> None:
    outcomes = {name: {"kind": "value", "least": least} for name, least in (("dear", 4), ("good", 3))}
    model = recipe_values["model"] | {"head": {"kind": "outcome", "outcomes": outcomes}}
    recipe = parse_recipe(recipe_values | {"model": model, "selection": {"metric": "auc"}}, where="test")
    workload = workload_of_budget(recipe, 1, 60)
    assert workload.targets == workload.rows * (workload.length - 1)
