"""The same mathematics on one process and on two."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .command import on_ranks, seqrec


def losses(run: Path) -> dict[int, float]:
    """Loss by step, as the CSV logger wrote it."""
    with (run / "csv" / "version_0" / "metrics.csv").open() as file:
        return {int(row["step"]): float(row["train_loss"]) for row in csv.DictReader(file) if row["train_loss"]}


def fit(recipe: Path, devices: int, *overrides: str) -> None:
    """As a run that is called after the number of its ranks."""
    strategy = f"trainer.strategy={'ddp' if devices > 1 else 'auto'}"
    words = ["fit", str(recipe), f"name=on{devices}", f"trainer.devices={devices}", strategy, *overrides]
    on_ranks(words, devices, cwd=recipe.parent)


# gradients of every combination are compared by tests/training/test_gradients.py
@pytest.mark.parametrize(("head", "partitions"), [("next_item", 1), ("masked_item", 2)])
def test_losses_step_by_step_equal_in_float64(
    write_recipe: Callable[..., Path],
    recipe_values: dict,
    store_in_units: Path,
    tmp_path: Path,
    head: str,
    partitions: int,
) -> None:
    kind = {"next_item": "gpt2", "masked_item": "bert"}[head]
    model = {"items": {"width": 16}, "head": {"kind": head},
             "backbone": {"kind": kind, "layers": 1, "heads": 2, "width": 16, "dropout": 0.2}}  # fmt: skip
    recipe = write_recipe(
        model=model, data=recipe_values["data"] | {"partitions": partitions, "store": str(store_in_units)}
    )
    for devices in (1, 2):
        fit(recipe, devices, "trainer.precision=64-true")
    one, two = losses(tmp_path / "runs/on1"), losses(tmp_path / "runs/on2")
    assert len(one) > 5
    assert one.keys() == two.keys()
    assert max(abs(one[step] - two[step]) for step in one) < 1e-10
    assert max(one.values()) - min(one.values()) > 0.01  # it learns: equality is not that of constants


def test_sampled_losses_update_rows_alike_on_one_two_and_three_ranks(
    write_recipe: Callable[..., Path], recipe_values: dict, store_in_units: Path, tmp_path: Path
) -> None:
    """In-batch negatives of all ranks, gradients of rows from all ranks, their norm clipped, with accumulation on 1."""
    recipe = write_recipe(
        model=recipe_values["model"]
        | {
            "backbone": {"kind": "gpt2", "layers": 1, "heads": 2, "width": 16, "dropout": 0.0},
            "loss": {"kind": "sampled_softmax", "negatives": {"uniform": 4, "popularity": 4, "in_batch": 8}},
        },
        data=recipe_values["data"] | {"partitions": 2, "store": str(store_in_units)},
        optimizer={"kind": "adamw", "lr": 0.01, "weight_decay": 0.1, "table_updates": "rows"},
    )
    for devices in (1, 2, 3):
        fit(recipe, devices, "trainer.precision=64-true", "trainer.gradient_clip_val=0.1")
    one, *others = (losses(tmp_path / f"runs/on{devices}") for devices in (1, 2, 3))
    assert len(one) > 5
    assert max(one.values()) - min(one.values()) > 0.01
    for other in others:
        assert one.keys() == other.keys()
        assert max(abs(one[step] - other[step]) for step in one) < 1e-10


def test_evaluation_is_identical_on_two_ranks(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    seqrec("fit", write_recipe(), cwd=tmp_path)
    results = []
    for devices in (1, 2):
        seqrec("evaluate", "runs/tiny", "--devices", str(devices), "--json", f"{devices}.json", cwd=tmp_path)
        results.append(json.loads((tmp_path / f"{devices}.json").read_text()))
    assert results[0] == results[1]
    assert results[0]["counts"]["users_evaluated"] > 100
    assert set(results[0]["baselines"]) == {"popular", "popular_recent", "item_knn"}
