from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from seqrec.errors import UnsupportedError
from seqrec.evaluation import FollowedLists, following_metrics, lists_and_what_followed
from seqrec.models import ListRequest
from seqrec.recipe import build_data, build_recipe_model, parse_recipe


def test_recall_and_ndcg_by_hand() -> None:
    lists = np.array([[4, 2, 9], [1, 0, 0], [7, 8, 9]])
    followed = np.array([[9, 4, 0], [5, 0, 0], [7, 8, 9]])
    found = following_metrics(FollowedLists(lists, followed))
    first = (1 + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert found["recall@3"].value == pytest.approx((1 + 0 + 1) / 3)
    assert found["ndcg@3"].value == pytest.approx((first + 0 + 1) / 3)
    assert found["recall@3"].low <= found["recall@3"].value <= found["recall@3"].high
    assert found["recall@3"].low < found["recall@3"].high


@pytest.mark.parametrize("seen", ["filter", "allow"])
def test_what_follows_is_what_training_did_not_see(recipe_values: dict[str, Any], seen: str) -> None:
    split = {"kind": "temporal", "validation_from": 0.5, "test_from": 0.6, "seen": seen}
    values = recipe_values | {"data": recipe_values["data"] | {"split": split}}
    recipe = parse_recipe(values, where="test")
    data = build_data(recipe)
    model = build_recipe_model(recipe, data.store, total_steps=1).eval()
    found = lists_and_what_followed(model, data, part="test", k=4)
    at = 0
    for sequences in data.store.scan(data.split.columns):
        ends = data.split.targets(sequences, "test")
        for user in np.flatnonzero(ends.position >= 0):
            events = sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]].tolist()
            history, later = events[: ends.history_end[user]], events[ends.history_end[user] :][:4]
            wanted = list(dict.fromkeys(item for item in later if seen == "allow" or item not in history))
            if not wanted:
                continue
            assert [item for item in found.followed[at] if item] == wanted
            inputs = torch.tensor([history[-20:]])
            ranked = model.rank(ListRequest(inputs, torch.tensor([inputs.shape[1]]), k=60))
            allowed = [item for item in ranked.top_items[0].tolist() if seen == "allow" or item not in history]
            assert found.items[at].tolist() == allowed[:4]
            at += 1
    assert at == len(found.items) > 10


def test_lists_must_be_long_enough(recipe_values: dict[str, Any]) -> None:
    model = recipe_values["model"] | {"head": {"kind": "slate", "size": 5}}
    recipe = parse_recipe(recipe_values | {"model": model}, where="test")
    data = build_data(recipe)
    with pytest.raises(UnsupportedError, match="lists of 6 items are asked for"):
        lists_and_what_followed(build_recipe_model(recipe, data.store, total_steps=1), data, part="test", k=6)
