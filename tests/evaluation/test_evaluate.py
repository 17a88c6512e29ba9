from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from seqrec.errors import RecipeError
from seqrec.evaluation import BASELINES, evaluate
from seqrec.ranking import Diversifier, Diversity, VectorSimilarity
from seqrec.recipe import build_data, build_recipe_model, parse_recipe


@pytest.fixture
def model_and_data(recipe_values: dict[str, Any], store_in_units: Any) -> tuple[Any, Any]:
    recipe = parse_recipe(
        recipe_values | {"data": recipe_values["data"] | {"store": str(store_in_units), "evaluation_tokens": 300}},
        where="test",
    )
    data = build_data(recipe)
    torch.manual_seed(0)
    return build_recipe_model(recipe, data.store, total_steps=10).eval(), data


def test_the_lists_are_evaluated_as_they_are_re_ranked(model_and_data: tuple[Any, Any]) -> None:
    model, data = model_and_data
    similarity = VectorSimilarity.of(model.item_vectors())
    plain = evaluate(model, data, baselines=BASELINES, accelerator="cpu")
    assert plain is not None
    assert tuple(plain.baselines) == BASELINES
    for weight in (1.0, 0.2):
        diversifier = Diversifier(Diversity("mmr", weight), similarity)
        found = evaluate(model, data, baselines=[], diversifier=diversifier, accelerator="cpu")
        assert found is not None
        assert found.protocol["diversify"] == f"mmr:{weight:g}"
        assert found.baselines == {"undiversified": plain.model}
        assert (found.model == plain.model) == (weight == 1.0)
    assert found.model["vector_diversity@10"].value > plain.model["vector_diversity@10"].value + 0.05
    assert found.model["coverage@10"].value > 0


def test_users_are_described_as_the_store_has_them(model_and_data: tuple[Any, Any]) -> None:
    _, data = model_and_data
    stream = data.evaluation("test")
    sequences = {}
    for part in data.store.scan():
        for row, start, end in zip(part.rows, part.offsets, part.offsets[1:], strict=False):
            sequences[int(row)] = part.items[start:end].tolist()
    met = []
    for number in range(len(stream)):
        users, batch = stream.users(number), stream[number]
        assert users.rows.tolist() == batch.rows.tolist()
        for b, row in enumerate(users.rows.tolist()):
            *history, target = sequences[row]
            assert users.items[users.offsets[b] : users.offsets[b + 1]].tolist() == history
            assert (users.targets[b], users.trained[b]) == (target, max(0, len(history) - 1))
        met += users.rows.tolist()
    assert sorted(met) == sorted(row for row, items in sequences.items() if len(items) > 1)
    assert np.unique(met).size == len(met)


def test_an_unknown_baseline_is_refused_before_anything_is_ranked(model_and_data: tuple[Any, Any]) -> None:
    with pytest.raises(RecipeError, match=r"no baseline 'popularity' \(did you mean 'popular'\?\)"):
        evaluate(*model_and_data, baselines=["popularity"], accelerator="cpu")  # type: ignore[list-item]
