"""Slates against all that there are: probabilities of a made-up model over a handful of items."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from seqrec.errors import MetricError
from seqrec.models.slate import SlateSearch
from seqrec.models.slate_settings import BeamSettings, DecodingSettings, GreedySettings, TopPSettings
from seqrec.random import row_keys

N_USERS, N_ITEMS = 3, 5
AFTER = torch.randn(N_USERS, N_ITEMS + 1, N_ITEMS, generator=torch.Generator().manual_seed(1)) * 2
NOTHING = torch.zeros(N_USERS, N_ITEMS, dtype=torch.bool)


def next_scores(user: Tensor, chosen: Tensor) -> Tensor:
    """By the last item, and a little by how many there are."""
    last = chosen[:, -1] if chosen.shape[1] else torch.zeros_like(user)
    return AFTER[user, last] * (1 + chosen.shape[1])


def log_probability(user: int, slate: tuple[int, ...], hidden: set[int]) -> float:
    total = 0.0
    for place, item in enumerate(slate):
        scores = next_scores(torch.tensor([user]), torch.tensor([slate[:place]]).long())[0]
        left = [i for i in range(1, N_ITEMS + 1) if i not in hidden and i not in slate[:place]]
        total += float(scores[item - 1] - scores[[i - 1 for i in left]].logsumexp(0))
    return total


def search(decoding: DecodingSettings, k: int, hidden: Tensor = NOTHING, seed: int = 0) -> tuple[Tensor, Tensor]:
    keys = row_keys(seed, 0, np.arange(len(hidden)))
    return SlateSearch(decoding, next_scores, hidden, keys).run(k)


def test_greedy_takes_the_best_item_at_each_place_and_scores_the_slate_so_far() -> None:
    items, scores = search(GreedySettings(), 4)
    for user, slate in enumerate(items.tolist()):
        for place in range(4):
            others = [i for i in range(1, N_ITEMS + 1) if i not in slate[:place]]
            each = {i: log_probability(user, (*slate[:place], i), set()) for i in others}
            assert slate[place] == max(each, key=each.__getitem__)
            assert scores[user, place].item() == pytest.approx(each[slate[place]], abs=1e-4)


def test_as_many_beams_as_slates_find_the_most_probable_one() -> None:
    hidden = NOTHING.clone()
    hidden[1, 2] = True
    items, scores = search(BeamSettings(kind="beam", beams=60), 3, hidden)
    for user in range(N_USERS):
        out = {3} if user == 1 else set()
        slates = permutations([i for i in range(1, N_ITEMS + 1) if i not in out], 3)
        each = {slate: log_probability(user, slate, out) for slate in slates}
        best = max(each, key=each.__getitem__)
        assert tuple(items[user].tolist()) == best
        assert scores[user, 2].item() == pytest.approx(each[best], abs=1e-4)
        assert scores[user, 0].item() == pytest.approx(log_probability(user, best[:1], out), abs=1e-4)


@pytest.mark.parametrize(
    "decoding", [GreedySettings(), BeamSettings(kind="beam", beams=3), TopPSettings(kind="top_p")], ids=lambda d: d.kind
)
def test_slates_end_where_nothing_is_left(decoding: DecodingSettings) -> None:
    hidden = NOTHING.clone()
    hidden[0, 1:4] = True
    hidden[1] = True
    items, scores = search(decoding, 7, hidden)
    assert sorted(items[0].tolist()) == [0] * 5 + [1, 5]
    assert not items[1].any()
    assert sorted(items[2].tolist()) == [0, 0, 1, 2, 3, 4, 5]
    for row, left in enumerate([2, 0, 5]):
        assert (items[row, left:] == 0).all()
        assert (scores[row, left:] == -torch.inf).all()
        assert scores[row, :left].isfinite().all()
        assert scores[row].tolist() == sorted(scores[row].tolist(), reverse=True)


def test_a_draw_depends_on_its_key_alone() -> None:
    decoding = TopPSettings(kind="top_p", share=1.0)
    keys = row_keys(0, 0, np.arange(N_USERS))
    items, _ = search(decoding, 3)
    alone = SlateSearch(decoding, lambda user, chosen: next_scores(user + 2, chosen), NOTHING[:1], keys[2:]).run(3)
    assert torch.equal(alone[0][0], items[2])
    assert any(not torch.equal(search(decoding, 3, seed=seed)[0], items) for seed in range(1, 4))


def test_draws_come_from_the_fewest_items_that_hold_the_share() -> None:
    probabilities = torch.tensor([0.1, 0.4, 0.3, 0.2])
    hidden = torch.zeros(4000, 4, dtype=torch.bool)
    keys = row_keys(0, 0, np.arange(4000))

    def drawn(share: float) -> Tensor:
        decoding = TopPSettings(kind="top_p", share=share)
        found = SlateSearch(decoding, lambda user, _: probabilities.log().expand(len(user), -1), hidden, keys).run(1)
        return torch.bincount(found[0][:, 0] - 1, minlength=4) / 4000

    torch.testing.assert_close(drawn(1.0), probabilities, atol=0.03, rtol=0)
    torch.testing.assert_close(drawn(0.6), torch.tensor([0, 4 / 7, 3 / 7, 0]), atol=0.03, rtol=0)
    assert drawn(0.39)[1] == 1


def test_a_score_that_is_no_number_is_an_error() -> None:
    wrong = SlateSearch(GreedySettings(), lambda user, _: torch.full((len(user), 4), torch.nan), NOTHING[:, :4])
    with pytest.raises(MetricError, match="place 1 of the slates of 3 users: 12 of 12 scores are NaN"):
        wrong.run(2)


@pytest.mark.parametrize("decoding", [GreedySettings(), BeamSettings(kind="beam", beams=3)])
def test_a_target_stands_behind_what_scores_alike(decoding: DecodingSettings) -> None:
    def all_alike(user: Tensor, chosen: Tensor) -> Tensor:
        return torch.zeros(len(user), N_ITEMS)

    targets = torch.tensor([1, 2, 5])
    items, _ = SlateSearch(decoding, all_alike, NOTHING, targets=targets).run(N_ITEMS - 1)
    assert not (items == targets.unsqueeze(1)).any()
