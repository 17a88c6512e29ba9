"""The model against sums over codes that are written out one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from seqrec.errors import TokenizerError, UnsupportedError
from seqrec.models import CODES_FILE, ListRequest, MicroBatch, ModelSettings, SemanticIdModel, build_model
from seqrec.ranking import ItemLists

N_ITEMS = 9
CODES = torch.tensor(
    [[0, 0, 0], [0, 0, 2], [0, 1, 1], [2, 0, 0], [2, 0, 1], [2, 3, 1], [1, 2, 2], [0, 1, 0], [2, 3, 0]]
)
SIZES = torch.tensor([3, 4, 3])
MAX_LENGTH = 6
HISTORIES = torch.tensor([[4, 2, 9, 1, 7, 3], [5, 5, 0, 0, 0, 0], [8, 1, 6, 0, 0, 0]])
LENGTHS = torch.tensor([6, 2, 3])
SEEN = ItemLists(torch.tensor([0, 6, 7, 10]), torch.tensor([4, 2, 9, 1, 7, 3, 5, 8, 1, 6]))


def ids(folder: Path, codes: Tensor = CODES) -> str:
    save_file({"codes": codes, "sizes": SIZES}, folder / CODES_FILE)
    return str(folder)


def build(
    folder: Path, *, kind: str = "gpt2", width: int = 16, adapter: Any = None, attention: str = "sdpa", **head: Any
) -> SemanticIdModel:
    sizes = {"layers": 2, "heads": 2, "width": 16, "dropout": 0.0}
    settings = ModelSettings.model_validate(
        {
            "items": {"kind": "semantic_ids", "codes": ids(folder), "width": width, "init_std": 1.0},
            "backbone": {"kind": kind, "attn_implementation": attention} | sizes,
            "adapter": adapter,
            "head": {"kind": "semantic_id", "beams": 50} | head,
        }
    )
    torch.manual_seed(0)
    model = build_model(settings, n_items=N_ITEMS, max_length=MAX_LENGTH, total_steps=1)
    assert isinstance(model, SemanticIdModel)
    return model.eval()


@torch.no_grad()
def log_probability(model: SemanticIdModel, history: list[int], item: int, smoothing: float = 0.0) -> float:
    """Of an item's id, by reading history and id once from the left for each code.

    A share of it may be the mean over all codes that go on to an item instead.
    """
    total = 0.0
    for level in range(3):
        row = torch.cat([CODES[torch.tensor(history) - 1].flatten(), CODES[item - 1, :level]])
        levels = torch.arange(len(row)) % 3
        vectors = torch.stack([model.items.vectors(c, int(at)) for c, at in zip(row, levels, strict=True)])
        hidden = model.backbone(model.project_in(vectors).unsqueeze(0), torch.tensor([len(row)]))[0, -1]
        logits = model.project_out(hidden) @ model.items.level(level).T
        alike = CODES[(CODES[:, :level] == CODES[item - 1, :level]).all(1)]
        others = [code for code in range(len(logits)) if code not in alike[:, level]]
        logits[others] = -torch.inf
        smooth = logits.log_softmax(-1).masked_fill(logits == -torch.inf, 0).sum() / (len(logits) - len(others))
        total += (1 - smoothing) * float(logits.log_softmax(-1)[CODES[item - 1, level]]) + smoothing * float(smooth)
    return total


def expected(model: SemanticIdModel, row: int) -> Tensor:
    history = HISTORIES[row, : LENGTHS[row]].tolist()
    return torch.tensor([log_probability(model, history, item) for item in range(1, N_ITEMS + 1)])


@pytest.mark.parametrize(
    ("kind", "width", "adapter"),
    [
        ("gpt2", 16, None),
        ("llama", 8, None),
        ("gpt2", 16, {"kind": "lora", "rank": 2}),
        ("smoothed_gpt2", 16, {"kind": "lora", "rank": 2}),
    ],
)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_more_beams_than_items_find_every_item_once_with_its_probability(
    tmp_path: Path, kind: str, width: int, adapter: Any, attention: str
) -> None:
    model = build(tmp_path, kind=kind, width=width, adapter=adapter, attention=attention)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)  # where it starts, an adapter changes nothing
    ranked = model.rank(ListRequest(HISTORIES, LENGTHS, k=50))
    assert ranked.top_items.shape == (3, 50)
    for row in range(3):
        scores = expected(model, row)
        assert ranked.top_items[row, :N_ITEMS].tolist() == (scores.argsort(descending=True) + 1).tolist()
        torch.testing.assert_close(ranked.top_scores[row, :N_ITEMS], scores.sort(descending=True).values)
        assert float(scores.exp().sum()) == pytest.approx(1, abs=1e-5)  # no probability goes to what no item has
    assert (ranked.top_items[:, N_ITEMS:] == 0).all()
    assert (ranked.top_scores[:, N_ITEMS:] == -torch.inf).all()


def test_what_was_seen_is_left_out_and_a_seen_target_keeps_its_place(tmp_path: Path) -> None:
    model = build(tmp_path)
    targets = torch.tensor([2, 9, 1])  # the first and the last were seen
    ranked = model.rank(ListRequest(HISTORIES, LENGTHS, k=9, targets=targets, seen=SEEN))
    assert ranked.target_rank is not None
    for row in range(3):
        seen = set(SEEN.of_users(row, row + 1).items.tolist()) - {int(targets[row])}
        scores = expected(model, row)
        left = [i for i in (scores.argsort(descending=True) + 1).tolist() if i not in seen]
        assert [i for i in ranked.top_items[row].tolist() if i] == left
        assert ranked.target_rank[row] == left.index(targets[row])


def test_beams_are_not_spent_on_prefixes_of_which_all_is_seen(tmp_path: Path) -> None:
    model = build(tmp_path, beams=1)
    greedy = model.rank(ListRequest(HISTORIES, LENGTHS, k=1))
    below = [torch.where(CODES[:, 0] == CODES[item - 1, 0])[0] + 1 for item in greedy.top_items[:, 0].tolist()]
    offsets = torch.tensor([0, *(len(items) for items in below)]).cumsum(0)
    others = model.rank(ListRequest(HISTORIES, LENGTHS, k=1, seen=ItemLists(offsets, torch.cat(below))))
    assert (others.top_items > 0).all()
    assert (CODES[others.top_items[:, 0] - 1, 0] != CODES[greedy.top_items[:, 0] - 1, 0]).all()


def test_a_target_beyond_the_list_is_missed(tmp_path: Path) -> None:
    model = build(tmp_path, beams=3)
    whole = build(tmp_path).rank(ListRequest(HISTORIES, LENGTHS, k=9)).top_items
    ranked = model.rank(ListRequest(HISTORIES, LENGTHS, k=2, targets=whole[:, 8]))
    assert ranked.target_rank is not None
    assert ranked.target_rank.tolist() == [2, 2, 2]
    with pytest.raises(UnsupportedError, match="lists of 4 items are asked for, and the model generates 3 at most"):
        model.check_list(4)


def test_parts_and_rows_that_fill_up_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(tmp_path)
    request = ListRequest(HISTORIES, LENGTHS, k=9, targets=torch.tensor([2, 9, 1]), seen=SEEN)
    whole = model.rank(request)
    monkeypatch.setattr("seqrec.models.semantic.model.USERS", 2)
    parts = model.rank(request)
    some = model.rank(request._replace(users=1, targets=torch.tensor([2]), seen=SEEN.of_users(0, 1), in_parts=False))
    for one, n in ((parts, 3), (some, 1)):
        assert torch.equal(one.top_items, whole.top_items[:n])
        torch.testing.assert_close(one.top_scores, whole.top_scores[:n])
        assert torch.equal(one.target_rank, whole.target_rank[:n])  # type: ignore[arg-type,index]


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_that_of_each_target_after_what_lies_before_it(tmp_path: Path, smoothing: float) -> None:
    model = build(tmp_path, label_smoothing=smoothing)
    inputs, lengths = torch.tensor([[4, 2, 9], [5, 8, 0]]), torch.tensor([3, 2])
    targets = torch.tensor([[2, 9, 6], [0, 3, 0]])  # a position without a target in between
    wanted = [([4], 2), ([4, 2], 9), ([4, 2, 9], 6), ([5, 8], 3)]
    total = -sum(log_probability(model, history, item, smoothing) for history, item in wanted)
    loss = model.training_loss(MicroBatch(inputs, lengths, targets))
    assert float(loss.detach()) == pytest.approx(total, rel=1e-5)
    places = torch.tensor([0, 1, 2, 4, 5])  # one more than there are targets
    assert float(model.training_loss(MicroBatch(inputs, lengths, targets, places=places)).detach()) == pytest.approx(
        total, rel=1e-5
    )
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


def test_ids_must_name_items_one_by_one_and_fit(tmp_path: Path) -> None:
    model = build(tmp_path)
    ids(tmp_path, CODES[[0, 1, 2, 3, 4, 5, 6, 7, 0]])
    with pytest.raises(TokenizerError, match="9 items have 8 different ids"):
        build_again(tmp_path, N_ITEMS)
    ids(tmp_path)
    with pytest.raises(TokenizerError, match="there are 9 semantic ids for 10 items"):
        build_again(tmp_path, 10)
    ids(tmp_path, CODES.flip(0))
    other = build_again(tmp_path, N_ITEMS)
    with pytest.raises(TokenizerError, match="trained on other semantic ids"):
        other.load_state_dict(model.state_dict())


def build_again(folder: Path, n_items: int) -> Any:
    values = {
        "items": {"kind": "semantic_ids", "codes": str(folder), "width": 16},
        "backbone": {"kind": "gpt2", "layers": 2, "heads": 2, "width": 16},
        "head": {"kind": "semantic_id"},
    }
    return build_model(ModelSettings.model_validate(values), n_items=n_items, max_length=MAX_LENGTH, total_steps=1)
