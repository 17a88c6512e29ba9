"""Items made of features: gradients, cold items, checkpoints; recipes of whole runs are in tests/features."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from seqrec.errors import RunError, UnsupportedError
from seqrec.models import (
    MASK,
    FusedItems,
    ItemFeatures,
    MicroBatch,
    ModelSettings,
    Negatives,
    SequenceModel,
    build_model,
    with_table,
)
from seqrec.ranking import Labels

N_ITEMS = 12
COLD = torch.tensor([3, 11])  # items
FUSED = {"kind": "fused", "width": 8, "vectors": ["v"], "id_dropout": 0.5}
KINDS = [FUSED, FUSED | {"fusion": "concat"}, {"kind": "features", "width": 8, "vectors": ["v"]}]
SAMPLED = {"kind": "sampled_softmax", "negatives": {"uniform": 2}}
HISTORY, LENGTHS, TARGETS = torch.tensor([[1, 2], [5, 0]]), torch.tensor([2, 1]), torch.tensor([[2, 4], [9, 0]])


def some_features(fingerprint: str = "ab" * 32) -> ItemFeatures:
    generator = torch.Generator().manual_seed(0)
    trained = torch.ones(N_ITEMS, dtype=torch.bool)
    trained[COLD - 1] = False
    codes = torch.tensor([[1, 2], [0, 0], [3, 0]]).repeat(4, 1)
    vectors, numbers = torch.randn(N_ITEMS, 5, generator=generator), torch.randn(N_ITEMS, 2, generator=generator)
    return ItemFeatures(trained, (vectors,), (Labels(codes, 3),), numbers, fingerprint)


def make(items: dict[str, Any], features: ItemFeatures | None = None, **sections: Any) -> SequenceModel:
    values = {"items": items, "backbone": {"kind": "gpt2", "layers": 1, "width": 8, "dropout": 0.0}}
    torch.manual_seed(1)
    model = build_model(
        ModelSettings.model_validate(values | sections),
        n_items=N_ITEMS,
        max_length=10,
        total_steps=10,
        features=features or some_features(),
    )
    assert isinstance(model, SequenceModel)
    return model.double()


def by_hand(model: SequenceModel) -> torch.Tensor:
    """The full softmax over the items with training events, from scores that are all there."""
    items = model.items
    assert isinstance(items, FusedItems)
    everything = items.of_rows(torch.arange(N_ITEMS))
    looked_up = everything[(HISTORY - 1).clamp(min=0)]
    hidden = model.backbone(looked_up, LENGTHS)
    scores = (hidden @ everything.T).masked_fill(~items.trained, -torch.inf)
    return torch.nn.functional.cross_entropy(
        scores.flatten(0, 1), TARGETS.flatten() - 1, ignore_index=-1, reduction="sum"
    )


@pytest.mark.parametrize("items", KINDS)
def test_loss_and_gradients_are_those_of_a_softmax_over_trained_items(items: dict[str, Any]) -> None:
    model = make(items)
    model.items.start_step(7)
    loss = model.training_loss(MicroBatch(HISTORY, LENGTHS, TARGETS))
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    expected = by_hand(model)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    wanted = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


def test_a_sampled_loss_touches_rows_of_its_own_items_and_may_do_so_sparsely() -> None:
    model = make(FUSED | {"id_dropout": 0.0}, loss=SAMPLED)
    negatives = Negatives(torch.tensor([7, 10]), torch.ones(2), torch.full((2,), 2 / 10).log())
    model.training_loss(MicroBatch(HISTORY, LENGTHS, TARGETS), negatives=negatives).backward()
    dense = model.items.weight.grad
    assert (dense.any(1).nonzero().flatten() + 1).tolist() == [1, 2, 4, 5, 7, 9, 10]
    model.zero_grad()
    model.use_row_gradients()
    model.training_loss(MicroBatch(HISTORY, LENGTHS, TARGETS), negatives=negatives).backward()
    assert model.items.weight.grad.is_sparse
    torch.testing.assert_close(model.items.weight.grad.to_dense(), dense)
    with pytest.raises(UnsupportedError, match=r"(?s)table_updates: items of `kind: features` .*`all`"):
        make(KINDS[2], loss=SAMPLED).use_row_gradients()


@pytest.mark.parametrize("items", KINDS[:2])
def test_a_cold_item_has_the_vector_of_its_features(items: dict[str, Any]) -> None:
    model = make(items).eval()
    with torch.no_grad():
        before = model.item_vectors().clone()
        model.train().items.weight.add_(1.0)  # what items have of their own
        after = model.eval().item_vectors()
    changed = (before != after).any(1)
    assert (changed.logical_not().nonzero().flatten() + 1).tolist() == COLD.tolist()
    assert torch.equal(model.items(torch.tensor([[3, 5]]))[0], after[[2, 4]])


def test_a_step_leaves_out_the_same_ids_wherever_they_are_looked_up() -> None:
    items = make(FUSED).items
    assert isinstance(items, FusedItems)
    kept = []
    for key in range(40):
        items.start_step(key)
        whole = items._keep(torch.arange(N_ITEMS)).squeeze(1)
        some = torch.tensor([8, 1, 5])
        assert torch.equal(items._keep(some).squeeze(1), whole[some])
        assert not whole[COLD - 1].any()
        kept.append(whole)
    share = torch.stack(kept).mean() * N_ITEMS / (N_ITEMS - len(COLD))
    assert 0.4 < share < 0.6


def test_the_mask_token_is_apart() -> None:
    model = make(FUSED, head={"kind": "masked_item"}, backbone={"kind": "bert", "layers": 1, "width": 8})
    assert torch.equal(model.items(torch.tensor([[4, MASK]]))[0, 1], model.items.mask)


def test_checkpoints_have_no_features_and_know_which_they_belong_to() -> None:
    model = make(FUSED)
    state = model.state_dict()
    assert not any("encoder.vectors" in name or "encoder.codes" in name for name in state)
    assert model.parameter_counts().item_table == N_ITEMS * 8
    make(FUSED).load_state_dict(state)
    with pytest.raises(RunError, match=r"(?s)features are not those .*model.items.vectors"):
        make(FUSED, some_features("cd" * 32)).load_state_dict(state)


def test_with_table_scores_the_same() -> None:
    model = make(FUSED).eval()
    settings = ModelSettings.model_validate({"items": FUSED, "backbone": {"kind": "gpt2", "width": 8}})
    plain, changed = with_table(model, settings)
    assert changed.items.kind == "ids"
    assert isinstance(model.items, FusedItems)
    assert sorted(name for name in plain.state_dict() if name.startswith("items.")) == ["items.weight"]
    with torch.no_grad():
        one, other = (m.rank(HISTORY, LENGTHS, k=5) for m in (model, plain.eval()))
    assert torch.equal(one.top_items, other.top_items)
    assert torch.equal(one.top_scores, other.top_scores)


def test_features_must_be_named_and_there() -> None:
    with pytest.raises(ValidationError, match="name at least one of `vectors`, `categories` and `numbers`"):
        ModelSettings.model_validate({"items": {"kind": "fused"}, "backbone": {"kind": "gpt2"}})
    settings = ModelSettings.model_validate({"items": FUSED, "backbone": {"kind": "gpt2"}})
    with pytest.raises(UnsupportedError, match=r"model.items.kind: fused: .*no catalogue"):
        build_model(settings, n_items=N_ITEMS, max_length=10, total_steps=10)
