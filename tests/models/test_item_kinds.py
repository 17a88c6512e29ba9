"""Every head learns and ranks by the vectors that items have, whatever these are made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from seqrec.models import ItemAttributes, ItemFeatures, ListRequest, MicroBatch, ModelSettings, build_model, with_table
from seqrec.ranking import Labels

N_ITEMS = 12
HISTORIES, LENGTHS = torch.tensor([[4, 2, 9, 1], [5, 5, 0, 0]]), torch.tensor([4, 2])
NEXT = torch.tensor([[2, 9, 1, 6], [5, 8, 0, 0]])
LABELS = torch.tensor([[0, 3, 1, 3], [0, 1, 0, 0]])
HEADS: dict[str, tuple[dict[str, Any], torch.Tensor]] = {
    "next_item": ({"kind": "next_item"}, NEXT),
    "slate": ({"kind": "slate", "size": 3}, NEXT),
    "outcome": ({"kind": "outcome", "outcomes": {"bought": {"kind": "action", "actions": ["buy"]}}}, LABELS),
}
MADE = {"width": 8, "init_std": 1.0, "categories": [{"column": "category"}]}
ITEMS: dict[str, dict[str, Any]] = {
    "attributes": {"kind": "ids", "width": 8, "init_std": 1.0, "attributes": ["category"]},
    "features": MADE | {"kind": "features"},
    "fused": MADE | {"kind": "fused", "id_dropout": 0.0},
}


@pytest.mark.parametrize("items", ITEMS)
@pytest.mark.parametrize("head", HEADS)
def test_loss_and_lists_are_those_of_a_table_of_the_same_vectors(head: str, items: str) -> None:
    asked, targets = HEADS[head]
    backbone = {"kind": "gpt2", "layers": 1, "width": 8, "dropout": 0.0}
    settings = ModelSettings.model_validate({"items": ITEMS[items], "head": asked, "backbone": backbone})
    codes = torch.arange(N_ITEMS) % 3
    trained = torch.ones(N_ITEMS, dtype=torch.bool)  # a softmax over a table would have the others too
    torch.manual_seed(0)
    model = build_model(
        settings,
        n_items=N_ITEMS,
        max_length=4,
        total_steps=1,
        attributes=ItemAttributes(codes, torch.arange(N_ITEMS + 1), 3) if items == "attributes" else None,
        features=ItemFeatures(trained, (), (Labels(codes[:, None] + 1, 3),), torch.zeros(N_ITEMS, 0), "ab" * 32),
    ).double()
    plain, _ = with_table(model, settings)
    assert plain.items is not model.items
    batch = MicroBatch(HISTORIES, LENGTHS, targets)
    torch.testing.assert_close(model.training_loss(batch), plain.training_loss(batch))
    with torch.no_grad():
        one, other = (m.eval().rank(ListRequest(HISTORIES, LENGTHS, k=3)) for m in (model, plain))
    assert torch.equal(one.top_items, other.top_items)
    torch.testing.assert_close(one.top_scores, other.top_scores)
