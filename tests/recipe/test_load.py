from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqrec.errors import RecipeError
from seqrec.recipe import dump_recipe, load_recipe, parse_recipe
from seqrec.recipe.schema import REFUSED_TRAINER_ARGUMENTS


def test_overrides_are_read_as_yaml(write_recipe: Callable[..., Path]) -> None:
    overrides = [
        "optimizer.lr=1e-3",
        "model.adapter={kind: lora, rank: 16}",
        "selection.patience=null",
        "logs.sources=[a.csv, b.csv]",
        "trainer.gradient_clip_val=5e-1",
    ]
    recipe = load_recipe(write_recipe(), overrides)
    assert recipe.optimizer.lr == 0.001
    assert recipe.model.adapter is not None
    assert recipe.model.adapter.rank == 16  # type: ignore[union-attr]
    assert recipe.selection.patience is None
    assert recipe.logs is not None
    assert recipe.logs.sources == ["a.csv", "b.csv"]
    assert recipe.trainer["gradient_clip_val"] == 0.5  # not the text that YAML 1.1 makes of it


def test_what_is_dumped_is_read_back(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(), ["model.adapter={kind: adalora}"])
    (tmp_path / "resolved.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "resolved.yaml") == recipe


@pytest.mark.parametrize("name", sorted(REFUSED_TRAINER_ARGUMENTS))
def test_trainer_arguments_that_exactness_cannot_honour(write_recipe: Callable[..., Path], name: str) -> None:
    with pytest.raises(RecipeError, match=f"`{name}` cannot be set here"):
        load_recipe(write_recipe(), [f"trainer.{name}=2"])


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("trainer.max_epoch=2", "no Trainer argument `max_epoch`; did you mean `max_epochs`?"),
        ("model.backbone.layerz=2", "unknown key `model.backbone.layerz`; did you mean `layers`?"),
        ("logs.sources=[{kind: hf, path: a, splt: b}]", "unknown key `logs.sources.0.splt`; did you mean `split`?"),
        ("model.head={kind: next_itm}", "`model.head`: unknown kind `next_itm`; did you mean `next_item`?"),
        ("data.split={kind: temporal, test_from: 0.999}", "no whole percent"),
        ("data.max_length=1", "`data.max_length`"),
        ("seed", "write `dotted.path=value`"),
        ("seed={", "not YAML"),
    ],
)
def test_a_fault_names_its_field(write_recipe: Callable[..., Path], override: str, told: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(write_recipe(), [override])
    assert told in str(error.value)


def test_all_faults_in_one_message(recipe_values: dict[str, Any]) -> None:
    del recipe_values["data"]
    recipe_values["optimiser"] = {}
    with pytest.raises(RecipeError) as error:
        parse_recipe(recipe_values, where="shop.yaml")
    message = str(error.value)
    assert message.startswith("shop.yaml: ")
    assert "`data`: missing" in message
    assert "did you mean `optimizer`?" in message


def test_a_file_that_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    with pytest.raises(RecipeError, match="not a mapping"):
        load_recipe(tmp_path / "list.yaml")
