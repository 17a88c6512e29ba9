from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from seqrec.errors import UnsupportedError
from seqrec.models import MASK, MicroBatch, ModelSettings, Negatives, Pairs, SequenceModel, build_model

Build = Callable[..., SequenceModel]
PairsOf = Callable[[SequenceModel], Pairs]
MASKED = {"kind": "masked_item"}


def make(backbone: str, n_items: int = 20, **sections: Any) -> SequenceModel:
    settings = ModelSettings.model_validate({"backbone": {"kind": backbone, "layers": 1, "width": 8}} | sections)
    return build_model(settings, n_items=n_items, max_length=10, total_steps=100)


@pytest.mark.parametrize(
    ("backbone", "head", "message"),
    [
        ("bert", {"kind": "next_item"}, "`next_item` needs a causal backbone, `bert` .*kind: masked_item"),
        ("gpt2", MASKED, "`masked_item` needs a bidirectional backbone, `gpt2` .*kind: next_item"),
        ("llama", MASKED, "`masked_item` needs a bidirectional backbone"),
    ],
)
def test_head_and_backbone_must_look_the_same_way(backbone: str, head: dict[str, str], message: str) -> None:
    with pytest.raises(UnsupportedError, match=f"(?s)model.head: .*{message}"):
        make(backbone, head=head)


def test_equal_widths_need_no_projection() -> None:
    same, other = make("gpt2", items={"width": 8}), make("gpt2", items={"width": 5})
    assert isinstance(same.project_in, torch.nn.Identity)
    assert isinstance(same.project_out, torch.nn.Identity)
    assert other(torch.tensor([[1, 2]]), torch.tensor([2])).shape == (1, 2, 5)


def test_parameters_are_counted_with_the_item_table_apart() -> None:
    counts = make("gpt2", items={"width": 8}).parameter_counts()
    attention, mlp = 8 * 24 + 24 + 8 * 8 + 8, 8 * 32 + 32 + 32 * 8 + 8
    norms, positions, unused_word = 3 * 16, 10 * 8, 8
    assert counts == (attention + mlp + norms + positions, unused_word, 20 * 8)
    masked = make("bert", items={"width": 8}, head=MASKED)
    assert masked.parameter_counts().item_table == 20 * 8


def test_user_vectors_are_the_hidden_ones_at_the_last_event() -> None:
    model = make("gpt2").eval()
    items, lengths = torch.tensor([[4, 2, 9], [7, 0, 0]]), torch.tensor([3, 1])
    with torch.no_grad():
        hidden = model(items, lengths)
        torch.testing.assert_close(model.user_vectors(items, lengths), torch.stack([hidden[0, 2], hidden[1, 0]]))
    assert model.item_vectors() is model.items.weight


def test_user_vectors_of_a_masked_head_are_those_of_the_mask() -> None:
    model = make("bert", head=MASKED).eval()
    with torch.no_grad():
        asked = model.user_vectors(torch.tensor([[4, 2], [7, 0]]), torch.tensor([2, 1]))
        by_hand = model(torch.tensor([[4, 2, MASK], [7, MASK, 0]]), torch.tensor([3, 2]))
    torch.testing.assert_close(asked, torch.stack([by_hand[0, 2], by_hand[1, 1]]))


def test_a_masked_head_takes_a_position_of_the_history() -> None:
    assert make("gpt2").max_history(10) == 10
    assert make("bert", head=MASKED).max_history(10) == 9


def test_sampled_softmax_trains_the_table_at_targets_and_negatives() -> None:
    model = make("gpt2", loss={"kind": "sampled_softmax", "negatives": {"uniform": 2}}).eval()
    inputs, targets = torch.tensor([[1, 2]]), torch.tensor([[2, 3]])
    negatives = Negatives(torch.tensor([9, 11]), torch.ones(2), torch.full((2,), 2 / 20).log())
    model.training_loss(MicroBatch(inputs, torch.tensor([2]), targets), negatives=negatives).backward()
    dense = model.items.weight.grad
    assert (dense.any(1).nonzero().flatten() + 1).tolist() == [1, 2, 3, 9, 11]
    model.zero_grad()
    model.use_row_gradients()
    model.training_loss(MicroBatch(inputs, torch.tensor([2]), targets), negatives=negatives).backward()
    assert model.items.weight.grad.is_sparse
    assert (model.items.weight.grad.coalesce().indices()[0] + 1).tolist() == [1, 2, 3, 9, 11]
    torch.testing.assert_close(model.items.weight.grad.to_dense(), dense)


def test_a_full_softmax_has_no_row_gradients() -> None:
    with pytest.raises(UnsupportedError, match=r"(?s)optimizer.table_updates: FullSoftmax .*sampled_softmax"):
        make("gpt2").use_row_gradients()


@pytest.mark.parametrize("adapter", ["none", "lora", "adalora"])
def test_what_a_checkpoint_may_leave_out(adapter: str, build: Build) -> None:
    model = build("minilm", adapter)
    keys = model.restorable_keys()
    state = model.state_dict()
    assert keys <= state.keys()
    kept = state.keys() - keys
    assert all("lora_" in key or "ranknum" in key or not key.startswith("backbone.") for key in kept)
    assert any("lora_" in key for key in kept) is (adapter != "none")
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable <= kept
    # what was left out comes back with a freshly built model
    other = build("minilm", adapter, seed=5)
    other.load_state_dict({key: state[key] for key in kept}, strict=False)
    assert all(torch.equal(value, state[key]) for key, value in other.state_dict().items())


@pytest.mark.parametrize(
    ("backbone", "adapter", "trainable"),
    [("gpt2", "none", False), ("bert", "lora", False), ("minilm", "none", True), ("minilm", "lora", True)],
)
def test_random_or_trained_weights_must_be_in_a_checkpoint(
    backbone: str, adapter: str, trainable: bool, build: Build
) -> None:
    assert build(backbone, adapter, trainable=trainable).restorable_keys() == frozenset()


def test_settings_refuse_unknown_kinds_and_keys() -> None:
    with pytest.raises(
        ValidationError, match=r"(?s)backbone.*'gpt2', 'smoothed_gpt2', 'bert', 'llama', 'qwen3', 'gru'"
    ):
        ModelSettings.model_validate({"backbone": {"kind": "gpt3"}})
    with pytest.raises(ValidationError, match=r"backbone\.gpt2\.layer\s+Extra inputs"):
        ModelSettings.model_validate({"backbone": {"kind": "gpt2", "layer": 3}})


def test_cosines_over_a_temperature_are_the_scores() -> None:
    model = make("gpt2", scores={"kind": "cosine", "temperature": 0.5}).eval()
    items, lengths = torch.tensor([[4, 2, 9], [7, 0, 0]]), torch.tensor([3, 1])
    with torch.no_grad():
        model.items.weight[3] *= 9.0
        users, vectors = model.user_vectors(items, lengths), model.item_vectors()
    torch.testing.assert_close(users.norm(dim=1), torch.full((2,), 2.0))
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(20))
    torch.testing.assert_close(vectors[3], model.items.weight[3] / model.items.weight[3].norm())


def test_the_loss_is_that_of_the_cosines() -> None:
    model = make("gpt2", scores={"kind": "cosine"}).eval()
    items, lengths, targets = torch.tensor([[4, 2]]), torch.tensor([2]), torch.tensor([[2, 9]])
    scores = model(items, lengths)[0] @ model.item_vectors().T
    expected = torch.nn.functional.cross_entropy(scores, targets[0] - 1, reduction="sum")
    found = model.training_loss(MicroBatch(items, lengths, targets))
    torch.testing.assert_close(found, expected)
    table = model.items.weight
    torch.testing.assert_close(torch.autograd.grad(found, table)[0], torch.autograd.grad(expected, table)[0])


def test_cosines_give_every_row_a_gradient() -> None:
    model = make("gpt2", scores={"kind": "cosine"}, loss={"kind": "sampled_softmax"})
    with pytest.raises(UnsupportedError, match=r"(?s)optimizer.table_updates.*model.scores.kind: dot"):
        model.use_row_gradients()
