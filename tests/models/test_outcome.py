"""The model against single events that are judged one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from seqrec.errors import UnsupportedError
from seqrec.event_columns import EventColumns
from seqrec.models import ListRequest, MicroBatch, ModelSettings, Outcome, OutcomeModel, build_model

N_ITEMS = 9
ITEMS, LENGTHS = torch.tensor([[4, 2, 9, 2], [5, 8, 0, 0]]), torch.tensor([4, 2])
# two bits an outcome: known, came about; the first event of a row is judged by nobody
LABELS = torch.tensor([[3, 0b0111, 0, 0b0100], [1, 0b1101, 0, 0]])
HEAD = {
    "kind": "outcome",
    "outcomes": {"liked": {"kind": "value", "least": 4}, "kept": {"kind": "action", "actions": ["keep"]}},
}


def build(backbone: str = "gpt2", *, width: int = 16) -> OutcomeModel:
    settings = ModelSettings.model_validate(
        {
            "items": {"width": width, "init_std": 1.0},
            "backbone": {"kind": backbone, "layers": 1, "heads": 2, "width": 16, "dropout": 0.0},
            "head": HEAD,
        }
    )
    torch.manual_seed(0)
    model = build_model(settings, n_items=N_ITEMS, max_length=6, total_steps=1)
    assert isinstance(model, OutcomeModel)
    return model.eval()


def logits_of(model: OutcomeModel, history: list[int], item: int) -> torch.Tensor:
    """float (A,), of one event after a history."""
    row = torch.tensor([[*history, item]])
    return model.logits(row, torch.tensor([row.shape[1]]), torch.tensor([row.shape[1] - 1]))[0].detach()


def pairs() -> tuple[torch.Tensor, ...]:
    head = build().head
    found = head.pairs(ITEMS, LENGTHS, np.zeros(2, np.uint64), EventColumns(labels=LABELS))
    assert found.events.labels is None  # a model that read them would know
    assert torch.equal(found.inputs, ITEMS)
    return found.inputs, found.lengths, found.targets


@pytest.mark.parametrize("width", [16, 8])
def test_the_loss_is_that_of_each_known_outcome_after_what_lies_before(width: int) -> None:
    model, (inputs, lengths, targets) = build(width=width), pairs()
    known = [([4], 2, 0, 1.0), ([4], 2, 1, 0.0), ([4, 2, 9], 2, 1, 0.0), ([5], 8, 0, 0.0), ([5], 8, 1, 1.0)]
    expected = sum(
        float(F.binary_cross_entropy_with_logits(logits_of(model, history, item)[number], torch.tensor(came)))
        for history, item, number, came in known
    )
    loss = model.training_loss(MicroBatch(inputs, lengths, targets))
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert model.head.n_targets(targets) == len(known)
    places = torch.tensor([1, 3, 5, 0, 6])  # two more than there are events with a label
    with_places = model.training_loss(MicroBatch(inputs, lengths, targets, places=places))
    assert float(with_places.detach()) == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


def test_an_event_is_judged_by_its_item_and_by_no_later_event() -> None:
    model = build()
    whole = model.logits(ITEMS[:1], LENGTHS[:1], torch.tensor([1, 2, 3]))
    later, other = ITEMS[:1].clone(), ITEMS[:1].clone()
    later[0, 3] = other[0, 2] = 7
    with_later = model.logits(later, LENGTHS[:1], torch.tensor([1, 2, 3]))
    with_other = model.logits(other, LENGTHS[:1], torch.tensor([1, 2, 3]))
    assert torch.equal(whole[:2], with_later[:2])
    assert not torch.equal(whole[2], with_later[2])
    assert torch.equal(whole[0], with_other[0])
    assert not torch.equal(whole[1], with_other[1])


def test_items_are_ranked_by_the_first_outcome() -> None:
    model = build()
    ranked = model.rank(ListRequest(ITEMS[:, :2], torch.tensor([2, 2]), k=N_ITEMS))
    for row, history in enumerate(ITEMS[:, :2].tolist()):
        expected = torch.stack([logits_of(model, history, item)[0] for item in range(1, N_ITEMS + 1)])
        assert ranked.top_items[row].tolist() == (expected.argsort(descending=True) + 1).tolist()
        torch.testing.assert_close(ranked.top_scores[row], expected.sort(descending=True).values)


def test_a_head_counts_what_is_known() -> None:
    settings = ModelSettings.model_validate({"backbone": {"kind": "gpt2"}, "head": HEAD})
    assert Outcome(settings.head).n_targets(torch.tensor([[0, 1, 3, 4, 0b1111]])) == 5


def test_a_bidirectional_backbone_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="head `outcome` needs a causal backbone"):
        build("bert")


def test_a_sampled_loss_is_refused() -> None:
    settings = ModelSettings.model_validate(
        {"backbone": {"kind": "gpt2"}, "head": HEAD, "loss": {"kind": "sampled_softmax"}}
    )
    with pytest.raises(UnsupportedError, match="binary cross-entropy of its own"):
        build_model(settings, n_items=N_ITEMS, max_length=6, total_steps=1)
