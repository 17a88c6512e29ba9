from __future__ import annotations

from typing import Any

import pytest
import torch

from seqrec.evaluation import rank_users
from seqrec.models import model as models
from seqrec.recipe import build_data, build_recipe_model, parse_recipe


@pytest.mark.parametrize("part", ["test", None])
def test_a_batch_in_parts_ranks_as_the_whole(
    recipe_values: dict[str, Any], part: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = parse_recipe(recipe_values, where="test")
    data = build_data(recipe)
    model = build_recipe_model(recipe, data.store, total_steps=1).eval()
    stream = data.evaluation(part)
    for number in range(len(stream)):
        batch = stream[number]
        whole = rank_users(model, batch, k=5)
        monkeypatch.setattr(models, "CPU_TOKENS", 70)
        parts = rank_users(model, batch, k=5)
        monkeypatch.undo()
        assert len(batch.rows) > 10
        assert torch.allclose(parts.top_scores, whole.top_scores, atol=1e-5)
        assert (parts.target_rank is None) == (whole.target_rank is None) == (part is None)
