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
    ListRequest,
    MicroBatch,
    ModelSettings,
    Negatives,
    SequenceModel,
    build_model,
    with_table,
)
from seqrec.models.item_features import principal_map
from seqrec.ranking import Labels

N_ITEMS = 12
COLD = torch.tensor([3, 11])  # items
FUSED = {"kind": "fused", "width": 8, "vectors": ["v"], "id_dropout": 0.5}
CONCAT, FEATURES = FUSED | {"fusion": "concat"}, {"kind": "features", "width": 8, "vectors": ["v"]}
KINDS = [FUSED, CONCAT, FEATURES]
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
    losses = torch.nn.functional.cross_entropy(
        scores.flatten(0, 1), TARGETS.flatten() - 1, ignore_index=-1, reduction="none"
    )
    left_out = items._keep(TARGETS.flatten() - 1).squeeze(1).logical_not()
    return (losses * torch.where(left_out, items._cold_weight, 1.0)).sum()


@pytest.mark.parametrize("items", [*KINDS, FUSED | {"cold_weight": 2.5}])
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
        make(FEATURES, loss=SAMPLED).use_row_gradients()


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


@pytest.mark.parametrize("items", KINDS[:2])
def test_a_cold_item_is_what_a_step_leaves_out(items: dict[str, Any]) -> None:
    table = make(items).items
    assert isinstance(table, FusedItems)
    table.start_step(7)
    everything = torch.arange(N_ITEMS)
    left_out = table._keep(everything).squeeze(1).logical_not()
    assert len(COLD) < left_out.sum() < N_ITEMS
    in_training = table.of_rows(everything)
    table.trained.fill_(False)
    as_cold = table.eval().of_rows(everything)
    assert torch.equal(in_training[left_out], as_cold[left_out])


@pytest.mark.parametrize("items", KINDS)
def test_items_are_as_alike_at_first_as_their_vectors(items: dict[str, Any]) -> None:
    features = some_features()
    (vectors,) = features.vectors
    with torch.no_grad():
        found = make(items, features).item_vectors().float()
    expected = vectors @ principal_map(vectors[features.trained], 8).T
    torch.testing.assert_close(found @ found.T, expected @ expected.T, rtol=0, atol=0.15)
    assert 0.8 < found.square().sum(1).mean().sqrt() < 1.2


def test_principal_directions_are_half_whitened() -> None:
    vectors = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([4.0, 1.0, 0.5])
    vectors = torch.cat([vectors, vectors[:, :1]], dim=1)  # a fourth that says nothing new
    vectors -= vectors.mean(0)
    variances = torch.linalg.svdvals(vectors)[:3] ** 2 / 50
    for width in (2, 3, 6):
        mapped = vectors @ principal_map(vectors, width).T
        kept = variances[:width].sqrt()
        expected = torch.zeros(width)
        expected[: len(kept)] = kept / kept.sum()
        torch.testing.assert_close(mapped.T @ mapped / 50, expected.diag(), atol=1e-5, rtol=1e-4)


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
    share = torch.stack(kept).double().mean() * N_ITEMS / (N_ITEMS - len(COLD))
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
        one, other = (m.rank(ListRequest(HISTORY, LENGTHS, k=5)) for m in (model, plain.eval()))
    assert torch.equal(one.top_items, other.top_items)
    assert torch.equal(one.top_scores, other.top_scores)


def test_a_weight_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="`cold_weight` is of items that `id_dropout` leaves out"):
        make(FUSED | {"cold_weight": 2.0, "id_dropout": 0.0})
    head = {"kind": "outcome", "outcomes": {"bought": {"kind": "action", "actions": ["buy"]}}}
    with pytest.raises(UnsupportedError, match=r"model.items.cold_weight: the head `outcome` has no items"):
        make(FUSED | {"cold_weight": 2.0}, head=head)


def test_features_must_be_named_and_there() -> None:
    with pytest.raises(ValidationError, match="name at least one of `vectors`, `categories` and `numbers`"):
        ModelSettings.model_validate({"items": {"kind": "fused"}, "backbone": {"kind": "gpt2"}})
    settings = ModelSettings.model_validate({"items": FUSED, "backbone": {"kind": "gpt2"}})
    with pytest.raises(UnsupportedError, match=r"model.items.kind: fused: .*no catalogue"):
        build_model(settings, n_items=N_ITEMS, max_length=10, total_steps=10)
