"""The model against sums over places that are written out one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from seqrec.errors import UnsupportedError
from seqrec.models import ListRequest, MicroBatch, ModelSettings, build_head, build_model
from seqrec.models.slate import SlateModel
from seqrec.models.slate_settings import SlateSettings
from seqrec.ranking import ItemLists

N_ITEMS = 9
SIZE = 3
HISTORIES = torch.tensor([[4, 2, 9, 1, 7, 3], [5, 5, 0, 0, 0, 0], [8, 1, 6, 0, 0, 0]])
LENGTHS = torch.tensor([6, 2, 3])
SEEN = ItemLists(torch.tensor([0, 6, 7, 10]), torch.tensor([4, 2, 9, 1, 7, 3, 5, 8, 1, 6]))
INPUTS, INPUT_LENGTHS = torch.tensor([[4, 2, 9, 2], [5, 8, 0, 0]]), torch.tensor([4, 2])
TARGETS = torch.tensor([[2, 9, 2, 6], [8, 3, 0, 0]])
WINDOWS = [
    ([4], (2, 9, 2)),
    ([4, 2], (9, 2, 6)),
    ([4, 2, 9], (2, 6)),
    ([4, 2, 9, 2], (6,)),
    ([5], (8, 3)),
    ([5, 8], (3,)),
]


def build(decoder: str = "gru", *, width: int = 16, **head: Any) -> SlateModel:
    settings = ModelSettings.model_validate(
        {
            "items": {"width": width, "init_std": 1.0},
            "backbone": {"kind": "gpt2", "layers": 1, "heads": 2, "width": 16, "dropout": 0.0},
            "head": {"kind": "slate", "size": SIZE, "decoder": decoder} | head,
        }
    )
    torch.manual_seed(0)
    model = build_model(settings, n_items=N_ITEMS, max_length=6, total_steps=1)
    assert isinstance(model, SlateModel)
    return model.eval()


def scores_after(model: SlateModel, history: list[int], chosen: tuple[int, ...]) -> torch.Tensor:
    """float (N,), by reading history and slate once from the left."""
    user = model.user_vectors(torch.tensor([history]), torch.tensor([len(history)]))
    items = model.items(torch.tensor([chosen]).long())
    return (model.decoder(user, items)[0, -1] @ model.item_vectors().T).detach()


@pytest.mark.parametrize("decoder", ["gru", "lstm", "transformer"])
@pytest.mark.parametrize("width", [16, 8])
def test_the_loss_is_that_of_each_item_after_those_before_it(decoder: str, width: int) -> None:
    model = build(decoder, width=width)
    total, n = 0.0, 0
    for history, window in WINDOWS:
        for place, item in enumerate(window):
            if item not in window[:place]:  # a slate holds no item twice
                total -= float(scores_after(model, history, window[:place]).log_softmax(0)[item - 1])
                n += 1
    loss = model.training_loss(MicroBatch(INPUTS, INPUT_LENGTHS, TARGETS))
    assert float(loss.detach()) == pytest.approx(total, rel=1e-5)
    assert build_head(SlateSettings(kind="slate", size=SIZE)).n_targets(TARGETS) == n
    places = torch.tensor([0, 1, 2, 3, 4, 5, 7])  # one more than there are targets
    assert float(
        model.training_loss(MicroBatch(INPUTS, INPUT_LENGTHS, TARGETS, places=places)).detach()
    ) == pytest.approx(total, rel=1e-5)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


def test_later_places_weigh_what_the_recipe_says() -> None:
    def loss(weight: float, places: list[int] | None = None) -> float:
        taught = None if places is None else torch.tensor(places)
        batch = MicroBatch(INPUTS, INPUT_LENGTHS, TARGETS, places=taught)
        return float(build(later_weight=weight).training_loss(batch).detach())

    model, total = build(), 0.0
    for history, window in WINDOWS:
        for place, item in enumerate(window):
            if item not in window[:place]:
                of_item = -float(scores_after(model, history, window[:place]).log_softmax(0)[item - 1])
                total += of_item if place == 0 else 0.25 * of_item
    assert loss(0.25) == pytest.approx(total, rel=1e-5)
    assert loss(0.25, [0, 1, 2, 3, 4, 5, 7]) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("decoder", ["gru", "lstm", "transformer"])
def test_a_place_sees_no_later_one(decoder: str) -> None:
    model = build(decoder)
    users, chosen = torch.randn(2, 16), torch.randn(2, 2, 16)
    changed = F.pad(chosen[:, :1], (0, 0, 0, 1), value=3.0)
    before, after = model.decoder(users, chosen), model.decoder(users, changed)
    differs = (before - after).abs().amax((0, 2)) > 1e-6
    assert differs.tolist() == [False, False, True]


def test_slates_are_the_best_item_at_each_place_that_the_user_may_be_given() -> None:
    model = build()
    targets = torch.tensor([2, 9, 1])  # the first and the last were seen
    ranked = model.rank(ListRequest(HISTORIES, LENGTHS, k=SIZE, targets=targets, seen=SEEN))
    assert ranked.target_rank is not None
    for row in range(3):
        hidden = set(SEEN.of_users(row, row + 1).items.tolist()) - {int(targets[row])}
        slate: list[int] = []
        for _ in range(SIZE):
            scores = scores_after(model, HISTORIES[row, : LENGTHS[row]].tolist(), tuple(slate)).tolist()
            slate.append(max(set(range(1, N_ITEMS + 1)) - hidden - {*slate}, key=lambda item: scores[item - 1]))
        assert ranked.top_items[row].tolist() == slate
        place = slate.index(int(targets[row])) if int(targets[row]) in slate else SIZE
        assert ranked.target_rank[row] == place


@pytest.mark.parametrize("decoding", [{"kind": "greedy"}, {"kind": "beam"}, {"kind": "top_p", "share": 1.0}])
def test_parts_padding_and_rows_that_fill_up_change_nothing(
    decoding: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(decoding=decoding)
    targets = torch.tensor([2, 9, 1])
    request = ListRequest(HISTORIES, LENGTHS, k=SIZE, targets=targets, seen=SEEN)
    whole = model.rank(request)
    some = model.rank(request._replace(users=1, targets=targets[:1], seen=SEEN.of_users(0, 1), in_parts=False))
    monkeypatch.setattr("seqrec.models.slate.model.SCORE_BYTES", 1)
    parts = model.rank(request)
    alone = model.rank(
        ListRequest(HISTORIES[1:2, :2], LENGTHS[1:2], k=SIZE, targets=targets[1:2], seen=SEEN.of_users(1, 2))
    )
    for one, rows in ((parts, slice(0, 3)), (some, slice(0, 1)), (alone, slice(1, 2))):
        assert torch.equal(one.top_items, whole.top_items[rows])
        torch.testing.assert_close(one.top_scores, whole.top_scores[rows])
        assert torch.equal(one.target_rank, whole.target_rank[rows])  # type: ignore[arg-type,index]
    assert model.rank(ListRequest(HISTORIES, LENGTHS, k=1, users=0)).top_items.shape == (0, 1)


def test_longer_lists_than_slates_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="lists of 4 items are asked for, and the model generates 3 at most"):
        build().check_list(SIZE + 1)


def test_a_bidirectional_backbone_is_refused() -> None:
    settings = ModelSettings.model_validate({"backbone": {"kind": "bert"}, "head": {"kind": "slate"}})
    with pytest.raises(UnsupportedError, match="head `slate` needs a causal backbone"):
        build_model(settings, n_items=N_ITEMS, max_length=6, total_steps=1)


def test_row_gradients_are_the_dense_ones() -> None:
    from seqrec.models import Negatives

    loss = {"kind": "sampled_softmax", "negatives": {"uniform": 2}}
    settings = ModelSettings.model_validate(
        {"items": {"width": 8}, "backbone": {"kind": "gpt2", "layers": 1, "width": 8}, "head": {"kind": "slate"},
         "loss": loss}
    )  # fmt: skip
    model = build_model(settings, n_items=N_ITEMS, max_length=6, total_steps=1).eval()
    negatives = Negatives(torch.tensor([1, 7]), torch.ones(2), torch.full((2,), 2 / 9).log())
    model.training_loss(MicroBatch(INPUTS, INPUT_LENGTHS, TARGETS), negatives=negatives).backward()
    dense = model.items.weight.grad
    model.zero_grad()
    model.use_row_gradients()
    model.training_loss(MicroBatch(INPUTS, INPUT_LENGTHS, TARGETS), negatives=negatives).backward()
    assert model.items.weight.grad is not None
    assert model.items.weight.grad.is_sparse
    torch.testing.assert_close(model.items.weight.grad.to_dense(), dense)
