"""The model against single texts that are put together by hand."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from seqrec.errors import UnsupportedError
from seqrec.event_columns import EventColumns
from seqrec.models import (
    Backbone,
    HistoryText,
    ListRequest,
    MicroBatch,
    ModelSettings,
    OneOutcome,
    TextOutcomeModel,
    assemble,
    build_head,
    build_model,
    load_backbone,
)

WIDTH, WORDS = 16, 60
QUESTION = [50, 51]
ITEMS = {1: [11], 2: [21, 22], 3: [31, 32, 33], 4: [41, 42]}
ACTIONS = {1: [5], 2: [6, 7]}
TEXT = HistoryText(
    words=torch.randn(WORDS, WIDTH, generator=torch.Generator().manual_seed(1)),
    prefix=torch.tensor([1, 2]),
    tokens=torch.tensor([[11, 0, 0], [21, 22, 0], [31, 32, 33], [41, 42, 0]]),
    lengths=torch.tensor([1, 2, 3, 2]),
    mask=3,
    question=torch.tensor(QUESTION),
    actions=tuple(torch.tensor(tokens) for tokens in ACTIONS.values()),
)
HEAD = {
    "kind": "outcome",
    "outcomes": {"liked": {"kind": "value", "least": 4}, "kept": {"kind": "action", "actions": ["keep"]}},
    "pooling": "mean",
}
SAID = {"template": "{title}", "actions": " rated {action}; ", "question": "[SEP]"}
INPUTS, LENGTHS = torch.tensor([[4, 2, 3, 2], [1, 3, 0, 0]]), torch.tensor([4, 2])
EVENTS = EventColumns(actions=torch.tensor([[1, 2, 0, 2], [2, 1, 0, 0]]))
# two bits an outcome: known, came about
LABELS = torch.tensor([[3, 0b0111, 0, 0b0100], [1, 0b1101, 0, 0]])


def settings(**changes: Any) -> ModelSettings:
    backbone = {"kind": "bert", "layers": 1, "heads": 2, "width": WIDTH, "dropout": 0.3}
    return ModelSettings.model_validate({"backbone": backbone, "head": HEAD, "text": SAID} | changes)


def build(**head: Any) -> TextOutcomeModel:
    torch.manual_seed(0)
    made = settings(head=HEAD | head)
    model = assemble(made, Backbone(load_backbone(made.backbone, positions=64)), n_items=4, n_actions=2, text=TEXT)
    assert isinstance(model, TextOutcomeModel)
    return model.eval()


def text_of(history: list[int], actions: list[int], item: int) -> list[int]:
    events = [word for i, a in zip(history, actions, strict=True) for word in [*ITEMS[i], *ACTIONS.get(a, [])]]
    return [1, 2, *events, *QUESTION, *ITEMS[item]]


def logits_of(model: TextOutcomeModel, history: list[int], actions: list[int], item: int) -> torch.Tensor:
    """float (A,), of one text in a pass of its own."""
    words = torch.tensor([text_of(history, actions, item)])
    return model(words, torch.tensor([words.shape[1]]))[0].detach()


def test_a_text_is_the_history_with_its_actions_the_question_and_the_event_without() -> None:
    words, lengths, _ = build().texts(INPUTS, torch.tensor([3, 0, 5]), EVENTS)
    expected = [text_of([4, 2, 3], [1, 2, 0], 2), text_of([], [], 4), text_of([1], [2], 3)]
    assert [row[:length] for row, length in zip(words.tolist(), lengths.tolist(), strict=True)] == expected


@pytest.mark.parametrize("pooling", ["mean", "last", "max", "attention"])
def test_each_event_is_judged_by_its_own_text(pooling: str) -> None:
    model = build(pooling=pooling)
    places = torch.tensor([3, 1, 5, 2])
    expected = [logits_of(model, *one) for one in (([4, 2, 3], [1, 2, 0], 2), ([4], [1], 2), ([1], [2], 3))]
    found = model.logits(INPUTS, LENGTHS, places, EVENTS).detach()
    torch.testing.assert_close(found[:3], torch.stack(expected))
    later = EventColumns(actions=EVENTS.actions.clone())  # what came of the event itself, and all after it
    later.actions[0, 1:] = 1
    other = INPUTS.clone()
    other[0, 2:] = 1
    assert torch.equal(
        model.logits(other, LENGTHS, places[1:2], later), model.logits(INPUTS, LENGTHS, places[1:2], EVENTS)
    )


def test_the_loss_is_that_of_the_known_outcomes_whatever_else_is_in_the_batch() -> None:
    model = build()
    targets = LABELS.clone()
    targets[:, 0] = 0
    expected = sum(
        F.binary_cross_entropy_with_logits(logits_of(model, *text)[number], torch.tensor(came))
        for text, number, came in (
            (([4], [1], 2), 0, 1.0),
            (([4], [1], 2), 1, 0.0),
            (([4, 2, 3], [1, 2, 0], 2), 1, 0.0),
            (([1], [2], 3), 0, 0.0),
            (([1], [2], 3), 1, 1.0),
        )
    )
    loss = model.training_loss(MicroBatch(INPUTS, LENGTHS, targets, EVENTS))
    torch.testing.assert_close(loss.detach(), expected)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    model.train()
    whole = MicroBatch(INPUTS, LENGTHS, targets, EVENTS, dropout_keys=torch.tensor([123, 456]))
    rows = [
        MicroBatch(*(part[row : row + 1] for part in whole[:3]), EVENTS.every(itemgetter(slice(row, row + 1))), keys)
        for row, keys in enumerate(torch.tensor([[123], [456]]))
    ]
    torch.testing.assert_close(model.training_loss(whole), sum(map(model.training_loss, rows)))
    one, zero = torch.ones(1, 1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.long)
    filler = MicroBatch(one, one[0], zero, EventColumns(actions=zero), dropout_keys=zero[:0, 0])
    assert float(model.training_loss(filler).detach()) == 0


def test_an_event_of_each_sequence_is_asked_about_any_of_them_alike() -> None:
    head = build_head(settings().head)
    assert isinstance(head, OneOutcome)
    n = 3000
    items = torch.tensor([[1, 2, 3, 4]]).expand(n, -1)
    labels = torch.tensor([[3, 1, 0, 3]]).expand(n, -1).clone()
    labels[-1] = torch.tensor([3, 0, 0, 0])  # a first event has no history, and is not asked about
    keys = np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    pairs = head.pairs(items, torch.full((n,), 4), keys, EventColumns(labels=labels))
    asked = pairs.targets != 0
    assert (asked[:-1].sum(1) == 1).all()
    assert not asked[-1].any()
    assert asked.sum(0).tolist()[::2] == [0, 0]
    assert 0.45 < float(asked[:, 1].float().mean()) < 0.55
    assert torch.equal(pairs.targets[asked], labels[asked])
    assert head.n_targets(pairs.targets) == n - 1
    again = head.pairs(items[7:9], torch.full((2,), 4), keys[7:9], EventColumns(labels=labels[7:9]))
    assert torch.equal(again.targets, pairs.targets[7:9])


def test_every_item_is_ranked_by_a_text_of_its_own() -> None:
    model = build()
    ranked = model.rank(ListRequest(INPUTS, LENGTHS, events=EVENTS, k=4))
    for row, (history, actions) in enumerate([([4, 2, 3, 2], [1, 2, 0, 2]), ([1, 3], [2, 1])]):
        expected = torch.stack([logits_of(model, history, actions, item)[0] for item in ITEMS])
        assert ranked.top_items[row].tolist() == (expected.argsort(descending=True) + 1).tolist()
        torch.testing.assert_close(ranked.top_scores[row], expected.sort(descending=True).values)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"head": HEAD | {"pooling": None}}, "model.text: an outcome is read off a whole text"),
        ({"text": None}, "model.head.pooling: what is taken together"),
        ({"items": {"width": 8}}, "model.items: an outcome is read off a text"),
        ({"head": {"kind": "masked_item"}}, "model.text.question: the head `masked_item` asks about no single event"),
        ({"events": {"time_gaps": 8}}, "model.events.time_gaps: histories as text do not say timestamps"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(UnsupportedError, match=where):
        build_model(settings(**changes), n_items=4, max_length=4, total_steps=1, text=TEXT)


@pytest.mark.parametrize("actions", ["rated", "{title}", "{action} of {title}"])
def test_a_text_of_actions_names_the_action(actions: str) -> None:
    with pytest.raises(ValueError, match="name the action in braces"):
        settings(text=SAID | {"actions": actions})
