"""What was asked for beside what the recipe says."""

from __future__ import annotations

from typing import Any

import pytest

from seqrec.errors import LaunchError
from seqrec.launcher import Shape
from seqrec.recipe import Recipe, parse_recipe


def recipe(values: dict[str, Any], **trainer: Any) -> Recipe:
    return parse_recipe(values | {"trainer": {"max_epochs": 1} | trainer}, where="test")


@pytest.mark.parametrize(
    ("trainer", "nodes", "devices", "shape"),
    [
        ({}, "2", 8, ("2", 8, True)),
        ({"num_nodes": 2, "devices": [0, 1]}, None, None, ("2", 2, True)),
        ({"num_nodes": 2, "devices": 4, "accelerator": "cpu"}, "2", 4, ("2", 4, False)),
        ({"devices": "auto"}, "1:2", 1, ("1:2", 1, True)),
    ],
)
def test_the_recipe_fills_what_was_not_asked_for(
    recipe_values: dict[str, Any], trainer: dict[str, Any], nodes: str | None, devices: int | None, shape: Any
) -> None:
    assert Shape.of(recipe(recipe_values, **trainer), nodes=nodes, devices=devices) == shape


@pytest.mark.parametrize(
    ("trainer", "nodes", "devices", "text"),
    [
        ({"num_nodes": 3}, "2", 1, "trainer.num_nodes: --nodes is 2, and the recipe says 3"),
        ({"num_nodes": 2}, "1:2", 1, "trainer.num_nodes: --nodes is 1:2, and the recipe says 2"),
        ({"devices": 2}, "2", 8, "trainer.devices: --devices is 8, and the recipe says 2"),
        ({"devices": -1}, "2", None, "trainer.devices: nothing says how many processes"),
    ],
)
def test_disagreement_is_said_before_anything_starts(
    recipe_values: dict[str, Any], trainer: dict[str, Any], nodes: str, devices: int | None, text: str
) -> None:
    with pytest.raises(LaunchError, match=text):
        Shape.of(recipe(recipe_values, **trainer), nodes=nodes, devices=devices)
