from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from seqrec.errors import RecipeError
from seqrec.recipe import parse_recipe, parse_value
from seqrec.sweep import Choices, Range, parse_space
from seqrec.sweep.space import as_yaml, overrides_of, own_values


def test_ranges() -> None:
    floats, integers, mixed = parse_space(["a.b=1e-4..1e-2", "c=2..8", "d=-1..0.5"])
    assert floats == Range("a.b", 1e-4, 1e-2)
    assert (floats.logarithmic, floats.values) == (True, None)
    assert str(floats) == "a.b: 0.0001 to 0.01, in logarithms"
    assert integers == Range("c", 2, 8)
    assert (integers.logarithmic, list(integers.values)) == (False, [2, 3, 4, 5, 6, 7, 8])
    assert mixed == Range("d", -1.0, 0.5)
    assert mixed.values is None


def test_choices_are_yaml() -> None:
    (field,) = parse_space(["model.loss={kind: bpr, negatives: {uniform: 4}}, {kind: full_softmax}, null, 1e-3, 1e-3"])
    assert isinstance(field, Choices)
    assert [parse_value(text) for text in field.texts] == [
        {"kind": "bpr", "negatives": {"uniform": 4}},
        {"kind": "full_softmax"},
        None,
        0.001,
    ]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "nothing is searched"),
        (["optimizer.lr"], "no field with values"),
        (["optimizer.lr=1e-3"], "one value is no choice"),
        (["optimizer.lr=1..1"], "the range is empty"),
        (["optimizer.lr=2..1"], "the range is empty"),
        (["optimizer.lr=1e..2"], "an end of the range is no number"),
        (["a=[1, 2"], "not YAML"),
        (["a=1,2", "a=3,4"], "`a` is searched twice"),
        (["a=1,2", "a.b=3,4"], "`a` is searched twice"),
    ],
)
def test_what_cannot_be_read_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_space(texts)


texts = st.text(st.characters(categories=["L", "N", "P", "Zs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)


@given(values)
def test_a_value_is_one_line_and_read_back(value: object) -> None:
    text = as_yaml(value)
    assert "\n" not in text
    assert parse_value(text) == yaml.safe_load(text) == value


def test_own_values_and_overrides() -> None:
    recipe = parse_recipe(
        {"name": "x", "data": {"store": "y"}, "model": {"backbone": {"kind": "gpt2"}}, "optimizer": {"lr": 3e-3}},
        where="test",
    )
    space = parse_space(["optimizer.lr=1e-4..1e-2", "trainer.max_epochs=1,2", "model.adapter=null,{kind: lora}"])
    assert own_values(recipe, space) is None  # no epochs
    space = (space[0], space[2])
    own = own_values(recipe, space)
    assert own == {"optimizer.lr": 3e-3, "model.adapter": "null"}
    assert overrides_of(own, space) == ["optimizer.lr=0.003", "model.adapter=null"]
    (layers,) = parse_space(["model.backbone.layers=1..4"])
    assert (layers.find(4), layers.find(5), layers.find(2.0), layers.find(True)) == (4, None, None, None)
