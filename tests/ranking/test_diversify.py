from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from seqrec.errors import RecipeError
from seqrec.ranking import Diversifier, Diversity, DotScorer, ItemLists, Labels, Ranked, VectorSimilarity, rank
from seqrec.ranking.diversify import CANDIDATES, Method

N, D, USERS = 150, 8, 20


def vectors(n: int, seed: int) -> Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed))


SIMILARITY = VectorSimilarity.of(vectors(N, 0))


def ranked(k: int, *, targets: Tensor | None = None, seen: ItemLists | None = None) -> Ranked:
    return rank(DotScorer(vectors(USERS, 1), vectors(N, 0)), k=k, targets=targets, seen=seen)


def diversified(method: Method, weight: float, found: Ranked, k: int, **options: Tensor) -> Ranked:
    return Diversifier(Diversity(method, weight), SIMILARITY)(found, k, **options)


def greedy(method: Method, weight: float, items: list[int], scores: list[float], k: int) -> list[int]:
    """The definitions, one user and one candidate at a time; the determinant from scratch."""
    unit = SIMILARITY.unit.double().numpy()
    span = max(scores) - min(scores)
    relevance = [1 - (max(scores) - score) / span for score in scores]
    chosen: list[int] = []

    def volume(places: list[int]) -> float:
        rows = unit[[items[place] - 1 for place in places]]
        return float(np.linalg.det(rows @ rows.T)) if len(places) > 1 else 1.0  # all tie before the first

    def gain(place: int) -> float:
        if method == "dpp":
            unlike = math.log(volume([*chosen, place]) / volume(chosen))
        else:
            unlike = -max([unit[items[place] - 1] @ unit[items[c] - 1] for c in chosen], default=0.0)
        return weight * relevance[place] + (1 - weight) * unlike

    while len(chosen) < k:
        chosen.append(max((place for place in range(len(items)) if place not in chosen), key=gain))
    return [items[place] for place in chosen]


@pytest.mark.parametrize("method", ["mmr", "dpp"])
@pytest.mark.parametrize("weight", [0.0, 0.3, 0.7, 1.0])
def test_each_list_is_the_greedy_choice(method: Method, weight: float) -> None:
    found = ranked(CANDIDATES)
    top = diversified(method, weight, found, 6).top_items
    for user in range(USERS):
        expected = greedy(method, weight, found.top_items[user].tolist(), found.top_scores[user].tolist(), 6)
        assert top[user].tolist() == expected


@pytest.mark.parametrize("method", ["mmr", "dpp"])
def test_at_weight_1_nothing_changes_and_at_0_lists_are_most_diverse(method: Method) -> None:
    targets = torch.arange(USERS) + 1
    found = ranked(CANDIDATES, targets=targets)
    same = diversified(method, 1.0, found, 10, targets=targets)
    assert torch.equal(same.top_items, found.top_items[:, :10])
    assert torch.equal(same.top_scores, found.top_scores[:, :10])
    assert found.target_rank is not None
    assert torch.equal(same.target_rank, found.target_rank.clamp(max=10))
    closeness = []
    for weight in (1.0, 0.5, 0.0):
        top = diversified(method, weight, found, 10, targets=targets).top_items
        closeness.append(float(SIMILARITY.between(top, top).triu(1).sum()))
    assert closeness == sorted(closeness, reverse=True)


def test_targets_are_found_where_they_are_put() -> None:
    targets = torch.arange(USERS) + 1
    found = diversified("mmr", 0.3, ranked(CANDIDATES, targets=targets), 20, targets=targets)
    for user in range(USERS):
        row = found.top_items[user].tolist()
        assert found.target_rank is not None
        assert found.target_rank[user] == (row.index(user + 1) if user + 1 in row else 20)


def test_no_item_comes_twice_though_more_are_wanted_than_span_the_space() -> None:
    top = diversified("dpp", 0.2, ranked(CANDIDATES), 40).top_items  # 40 vectors of 8 dimensions
    assert all(len(set(row)) == 40 for row in top.tolist())


def test_short_lists_stay_short_and_keep_their_order_at_weight_1() -> None:
    everything = torch.arange(1, N + 1)
    seen = ItemLists(torch.tensor([0, *[N - 3 * (u + 1) for u in range(USERS)]]).cumsum(0),
                     torch.cat([everything[3 * (u + 1):] for u in range(USERS)]))  # fmt: skip
    found = ranked(CANDIDATES, seen=seen)
    for method in ("mmr", "dpp"):
        top = diversified(method, 0.5, found, 10)
        held = (top.top_items > 0).sum(1)
        assert held.tolist() == [min(10, 3 * (u + 1)) for u in range(USERS)]
        assert torch.equal(top.top_items == 0, top.top_scores == -torch.inf)
        assert sorted(top.top_items[0].tolist()) == [0] * 7 + [1, 2, 3]


def test_a_target_that_ties_comes_after_its_equals() -> None:
    scores = torch.tensor([[5.0, 3.0, 3.0, 3.0, 1.0, 1.0]])
    for target, expected in ((2, 3), (4, 3), (1, 0), (5, 5)):
        targets = torch.tensor([target])
        found = rank(DotScorer(torch.ones(1, 1), scores.T.contiguous()), k=6, targets=targets)
        assert found.target_rank is not None
        again = Diversifier(Diversity("mmr", 1.0), VectorSimilarity.of(vectors(6, 0)))(found, 6, targets=targets)
        assert again.target_rank.tolist() == found.target_rank.tolist() == [expected]
    # a list that ends within a tie does not hold the target
    targets = torch.tensor([2])
    cut = rank(DotScorer(torch.ones(1, 1), scores.T.contiguous()), k=3, targets=targets)
    again = Diversifier(Diversity("mmr", 1.0), VectorSimilarity.of(vectors(6, 0)))(cut, 3, targets=targets)
    assert again.target_rank.tolist() == [3]


def test_by_category_each_comes_once_before_any_comes_twice() -> None:
    labels = Labels.of(["abc"[i % 3] for i in range(N)])
    top = Diversifier(Diversity("dpp", 0.1, "category"), labels)(ranked(CANDIDATES), 3).top_items
    assert all(len({item % 3 for item in row}) == 3 for row in top.tolist())


@pytest.mark.parametrize("text", ["mmr:0.7", "dpp:0", "mmr:1:category"])
def test_a_choice_is_read_as_it_is_written(text: str) -> None:
    assert str(Diversity.parse(text)) == text


@pytest.mark.parametrize("text", ["mmr", "mmr:", "mmr:1.5", "mmr:nan", "xyz:0.5", "mmr:0.5:colour", "0.7"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="is no way to diversify"):
        Diversity.parse(text)
