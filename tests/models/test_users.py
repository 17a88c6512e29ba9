"""What is known of users, in the models that read it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from seqrec.errors import RunError, UnsupportedError
from seqrec.event_columns import EventColumns
from seqrec.models import ListRequest, ModelSettings, RankingModel, build_model
from seqrec.models.users import UserEmbedding
from seqrec.users import UNIT, Scale, UserValues

VALUES = UserValues(
    categories={"band": ["a", "b", "c"], "sex": ["f", "m"]}, numbers={"age": Scale(mean=40, deviation=10)}
)
SIZE = {"layers": 1, "heads": 2, "width": 8, "dropout": 0.0}
HEADS: dict[str, dict[str, Any]] = {
    "next_item": {"backbone": SIZE | {"kind": "gpt2"}},
    "masked_item": {"backbone": SIZE | {"kind": "bert"}, "head": {"kind": "masked_item"}},
    "slate": {"backbone": SIZE | {"kind": "gpt2"}, "head": {"kind": "slate", "size": 3}},
    "outcome": {
        "backbone": SIZE | {"kind": "gpt2"},
        "head": {"kind": "outcome", "outcomes": {"liked": {"kind": "value", "least": 4}}},
    },
}
ITEMS, LENGTHS = torch.tensor([[4, 2, 9], [5, 8, 0], [4, 2, 9]]), torch.tensor([3, 2, 3])
USERS = torch.tensor([[1, 2, UNIT], [3, 1, -UNIT // 2], [0, 0, 0]])


def build(kind: str, **changes: Any) -> RankingModel:
    settings = {"items": {"width": 12, "init_std": 1.0}, "users": {"categories": ["band", "sex"], "numbers": ["age"]}}
    torch.manual_seed(0)
    model = ModelSettings.model_validate(settings | HEADS[kind] | changes)
    return build_model(model, n_items=9, max_length=6, total_steps=1, users=VALUES).eval()


def scores(model: RankingModel, users: torch.Tensor | None, rows: slice = slice(None)) -> torch.Tensor:
    k = model.list_limit or 9
    ranked = model.rank(ListRequest(ITEMS[rows], LENGTHS[rows], events=EventColumns(users=users), k=k))
    return torch.stack([ranked.top_items.double(), ranked.top_scores.double()]).detach()


@pytest.mark.parametrize("head", HEADS)
def test_every_head_reads_them_row_by_row(head: str) -> None:
    model = build(head)
    found = scores(model, USERS)
    others = USERS.clone()
    others[1] = torch.tensor([2, 1, 0])
    changed = scores(model, others)
    assert torch.equal(found[:, [0, 2]], changed[:, [0, 2]])
    assert not torch.equal(found[:, 1], changed[:, 1])
    assert not torch.equal(found[:, 0], found[:, 2])  # of the same history
    unknown = scores(model, None, slice(2, 3))  # of somebody who is not known at all
    torch.testing.assert_close(found[:, 2:], unknown, rtol=1e-5, atol=1e-6)


def test_a_vector_is_the_sum_of_what_is_known_and_the_mean_of_what_is_not() -> None:
    embedding = UserEmbedding(VALUES, 5, init_std=1.0)
    assert embedding.of_values is not None
    assert embedding.of_numbers is not None
    band, sex = embedding.of_values.split([3, 2])
    (age,) = embedding.of_numbers
    expected = [band[0] + sex[1] + age, band[2] + sex[0] - age / 2, band.mean(0) + sex.mean(0)]
    torch.testing.assert_close(embedding(USERS), torch.stack(expected))


def test_weights_are_not_read_into_a_model_of_other_values() -> None:
    state = build("next_item").state_dict()
    settings = ModelSettings.model_validate({"backbone": SIZE | {"kind": "gpt2"}, "users": {"categories": ["band"]}})
    values = UserValues(categories={"band": ["a", "b", "d"]}, numbers={})
    other = build_model(settings, n_items=9, max_length=6, total_steps=1, users=values)
    with pytest.raises(RunError, match=r"model.users: the values that attributes of users have in the store are not"):
        other.load_state_dict(state, strict=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"items": {"kind": "semantic_ids", "codes": "x"}, "head": {"kind": "semantic_id"}},
        {"text": {"template": "{title}"}, "head": {"kind": "masked_item"}},
    ],
)
def test_what_has_no_vectors_of_items_refuses_them(changes: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match=r"model.users: attributes of users are added to vectors of items"):
        build("next_item", **changes)


def test_without_a_store_their_values_are_not_known() -> None:
    settings = ModelSettings.model_validate({"backbone": SIZE | {"kind": "gpt2"}, "users": {"categories": ["band"]}})
    with pytest.raises(UnsupportedError, match="there is no store to read them from"):
        build_model(settings, n_items=9, max_length=6, total_steps=1)


def test_settings_name_each_column_once() -> None:
    for users, message in (({}, "at least one"), ({"categories": ["age"], "numbers": ["age"]}, "named twice")):
        with pytest.raises(ValueError, match=message):
            ModelSettings.model_validate({"backbone": SIZE | {"kind": "gpt2"}, "users": users})
