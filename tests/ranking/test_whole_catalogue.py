from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seqrec.errors import MetricError
from seqrec.ranking import whole_catalogue
from seqrec.ranking.scorers import TILE, DotScorer, ItemLists, products
from seqrec.ranking.whole_catalogue import Ranked, join, rank, rank_part


@dataclass(frozen=True)
class TableScorer:
    """Scores written down, float32 (B, N)."""

    table: Tensor

    @property
    def n_users(self) -> int:
        return self.table.shape[0]

    @property
    def n_items(self) -> int:
        return self.table.shape[1]

    def of_users(self, start: int, stop: int) -> TableScorer:
        return TableScorer(self.table[start:stop])

    def __call__(self, start: int, stop: int) -> Tensor:
        return self.table[:, start:stop].T.float().clone(memory_format=torch.contiguous_format)


def item_lists(lists: list[list[int]]) -> ItemLists:
    offsets = torch.tensor([0, *(len(items) for items in lists)]).cumsum(0)
    return ItemLists(offsets, torch.tensor([item for items in lists for item in items], dtype=torch.int64))


def by_sorting(table: Tensor, k: int, targets: list[int], seen: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """The same by sorting Python lists: the definition."""
    ranks, lists = [], []
    for scores, target, hidden in zip(table.tolist(), targets, seen, strict=True):
        allowed = [item for item in range(1, len(scores) + 1) if item == target or item not in hidden]
        not_below = sum(item != target and scores[item - 1] >= scores[target - 1] for item in allowed)
        ranks.append(k if scores[target - 1] == -math.inf else min(k, not_below))
        order = sorted((-scores[item - 1], item) for item in allowed if scores[item - 1] > -math.inf)
        top = [item for _, item in order[:k]]
        lists.append(top + [0] * (k - len(top)))
    return ranks, lists


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, int, list[int], list[list[int]]]:
    users, n_items = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    # few values, so that most tie; both zeros, which are equal; infinities, which a model may give
    value = st.sampled_from([-math.inf, -2.5, -1.0, -0.0, 0.0, 1e-30, 1.0, 3.0, math.inf])
    rows = draw(st.lists(st.lists(value, min_size=n_items, max_size=n_items), min_size=users, max_size=users))
    item = st.integers(1, n_items)
    targets = draw(st.lists(item, min_size=users, max_size=users))
    seen = draw(st.lists(st.lists(item, max_size=15), min_size=users, max_size=users))
    return torch.tensor(rows), draw(st.integers(1, 15)), targets, seen


@settings(max_examples=300, deadline=None)
@given(cases(), st.one_of(st.none(), st.integers(1, 13)), st.integers(1, 5))
def test_equals_sorting_with_ties_seen_items_and_any_chunk(case, chunk, users):
    table, k, targets, seen = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole_catalogue, "USERS", users)
        assert_equals_sorting(table, k, targets, seen, chunk)


@settings(max_examples=200, deadline=None)
@given(cases(), st.lists(st.integers(1, 11), max_size=3), st.one_of(st.none(), st.integers(1, 13)))
def test_parts_of_the_catalogue_join_to_the_whole(case, cuts, chunk):
    table, k, targets, seen = case
    places = sorted({0, table.shape[1], *(cut for cut in cuts if cut < table.shape[1])})
    parts = [
        rank_part(
            TableScorer(table[:, start:stop]), k=k, targets=torch.tensor(targets), seen=item_lists(seen), chunk=chunk,
            first=start,
        )
        for start, stop in pairwise(places)
    ]  # fmt: skip
    joined = join(parts[::-1], k=k)
    assert joined.target_rank is not None
    assert (joined.target_rank.tolist(), joined.top_items.tolist()) == by_sorting(table, k, targets, seen)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_equals_sorting_over_many_groups(data):
    """Catalogues of several groups, some short, whose scores tie often, seldom or never, in any order or rising."""
    users, n_items = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 400))
    levels = data.draw(st.sampled_from([2, 20, 10_000]))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))
    table = torch.randint(0, levels, (users, n_items), generator=generator).float()
    if data.draw(st.booleans()):
        table = table.sort(dim=1).values  # each chunk is better than all before
    targets = torch.randint(1, n_items + 1, (users,), generator=generator).tolist()
    seen = torch.randint(1, n_items + 1, (users, data.draw(st.integers(0, 60))), generator=generator).tolist()
    chunk = data.draw(st.sampled_from([None, 1, 31, 32, 50, 64, 399]))
    assert_equals_sorting(table, data.draw(st.integers(1, 70)), targets, seen, chunk)


@pytest.mark.parametrize("n_items", [257, 272, 4095, 4096, 4112, 5000])
@pytest.mark.parametrize("allowed", [3, 40, 200])
def test_equals_sorting_over_groups_of_groups(n_items: int, allowed: int) -> None:
    """Of which most hold nothing that may be recommended."""
    generator = torch.Generator().manual_seed(n_items)
    table = torch.full((3, n_items), -torch.inf)
    rows = torch.stack([torch.randperm(n_items, generator=generator)[:allowed] for _ in table])
    table.scatter_(1, rows, torch.randint(0, 50, rows.shape, generator=generator).float())
    targets = (rows[:, 0] + 1).tolist()
    assert_equals_sorting(table, 12, targets, [[], [1, n_items], (rows[2, :2] + 1).tolist()], None)


def assert_equals_sorting(table: Tensor, k: int, targets: list[int], seen: list[list[int]], chunk: int | None) -> None:
    ranks, lists = by_sorting(table, k, targets, seen)
    ranked = rank(TableScorer(table), k=k, targets=torch.tensor(targets), seen=item_lists(seen), chunk=chunk)
    assert ranked.target_rank.tolist() == ranks
    assert ranked.top_items.tolist() == lists
    padded = torch.cat([torch.full((len(table), 1), -torch.inf), table], dim=1)
    assert torch.equal(ranked.top_scores, padded.gather(1, ranked.top_items))


def test_ties_count_against_the_target_and_go_to_the_smaller_item():
    ranked = rank(TableScorer(torch.tensor([[1.0, 2.0, 2.0, 2.0, 0.0]])), k=3, targets=torch.tensor([2]))
    assert ranked.target_rank.tolist() == [2]  # items 3 and 4 are not below it
    assert ranked.top_items.tolist() == [[2, 3, 4]]
    assert ranked.top_scores.tolist() == [[2.0, 2.0, 2.0]]


def test_seen_items_are_passed_over_but_the_target_never_is():
    scorer = TableScorer(torch.tensor([[5.0, 4.0, 3.0, 2.0]]))
    ranked = rank(scorer, k=2, targets=torch.tensor([3]), seen=item_lists([[1, 3, 1]]))
    assert ranked.target_rank.tolist() == [1]
    assert ranked.top_items.tolist() == [[2, 3]]


def test_a_list_is_shorter_where_fewer_items_are_left():
    ranked = rank(TableScorer(torch.tensor([[1.0, 2.0, 3.0]])), k=5, seen=item_lists([[3]]))
    assert ranked.target_rank is None
    assert ranked.top_items.tolist() == [[2, 1, 0, 0, 0]]
    assert ranked.top_scores.tolist() == [[2.0, 1.0, *[-math.inf] * 3]]


def test_items_scored_minus_infinity_are_never_recommended_and_rank_last():
    table = torch.tensor([[-math.inf, 1.0, -math.inf, 2.0]])
    ranked = rank(TableScorer(table), k=4, targets=torch.tensor([1]), seen=item_lists([[2]]))
    assert ranked.top_items.tolist() == [[4, 0, 0, 0]]
    assert ranked.target_rank.tolist() == [4]  # no list of four holds it


def test_a_target_beyond_the_list_has_rank_k():
    table = torch.tensor([[5.0, 4.0, 3.0, 2.0], [5.0, 4.0, 3.0, 3.0]])
    for k, ranks in [(1, [1, 1]), (2, [2, 2]), (3, [2, 3]), (4, [2, 3])]:
        assert rank(TableScorer(table), k=k, targets=torch.tensor([3, 4])).target_rank.tolist() == ranks


@pytest.mark.parametrize("chunk", [None, 2])
def test_nan_is_refused_with_count_and_place(chunk):
    table = torch.zeros(3, 4)
    table[1, 2] = table[2, 3] = math.nan
    with pytest.raises(MetricError, match=r"2 of \d+ scores are NaN\n.*first: +user 1 of the batch \(from 0\), item 3"):
        rank(TableScorer(table), k=2, targets=torch.tensor([1, 1, 1]), chunk=chunk)


def test_nan_of_a_seen_item_is_refused_too():
    table = torch.zeros(300, 40)
    table[270, 3] = math.nan
    with pytest.raises(MetricError, match=r"user 270 of the batch \(from 0\), item 4"):
        rank(TableScorer(table), k=2, seen=item_lists([[4]] * 300))


def test_nan_of_infinities_that_cancel_is_not_imagined():
    rank(TableScorer(torch.tensor([[math.inf, -math.inf]])), k=1)


def test_an_empty_batch_gives_empty_results():
    ranked = rank(TableScorer(torch.zeros(0, 3)), k=2, targets=torch.zeros(0, dtype=torch.int64), seen=item_lists([]))
    assert ranked.target_rank.shape == (0,)
    assert ranked.top_items.shape == (0, 2)


TILES = 2 * TILE + 1000  # items: two whole tiles and a part


def dot_scorer(users: int = 33, n_items: int = TILES, width: int = 24) -> DotScorer:
    generator = torch.Generator().manual_seed(0)
    vectors = [torch.randn(rows, width, generator=generator) for rows in (users, n_items)]
    return DotScorer(vectors[0], vectors[1])


def test_dot_scores_do_not_depend_on_the_block():
    scorer = dot_scorer()
    whole = scorer(0, scorer.n_items)
    assert torch.allclose(whole, (scorer.user_vectors @ scorer.item_vectors.T).T, atol=1e-4)
    for start, stop in [(0, 1), (5, TILE + 1), (TILE - 1, TILE + 1), (TILE, 2 * TILE), (TILES - 1, TILES), (1, TILES)]:
        assert torch.equal(scorer(start, stop), whole[start:stop])


def test_ranks_and_lists_do_not_depend_on_the_chunk():
    scorer = dot_scorer(users=300)
    targets = torch.arange(1, scorer.n_users + 1) * 100
    seen = item_lists([[user + 1, TILE, TILE + 1, TILES, user + 1] for user in range(scorer.n_users)])

    def ranked(chunk: int | None) -> Ranked:
        return rank(scorer, k=20, targets=targets, seen=seen, chunk=chunk)

    whole = ranked(None)
    for other in map(ranked, (10_000, TILE, 20_000, TILES - 1, TILES, 10**9)):
        assert all(torch.equal(a, b) for a, b in zip(whole, other, strict=True))


def test_padding_and_seen_items_are_never_recommended():
    scorer = dot_scorer()
    seen = torch.randint(1, TILES + 1, (scorer.n_users, 500), generator=torch.Generator().manual_seed(1))
    ranked = rank(scorer, k=50, seen=item_lists(seen.tolist()))
    assert ranked.top_items.min() >= 1
    assert ranked.top_items.max() <= TILES
    assert not (ranked.top_items[:, :, None] == seen[:, None, :]).any()


def test_scores_of_lower_precision_rank_as_they_are():
    scores = torch.tensor([[1.0, 1.001, 2.0]], dtype=torch.bfloat16)  # the first two round to the same
    ranked = rank(TableScorer(scores), k=3, targets=torch.tensor([2]))
    assert ranked.target_rank.tolist() == [2]
    assert ranked.top_items.tolist() == [[3, 1, 2]]


def test_scores_rank_alike_where_float64_is_the_default():
    """As under Lightning's `64-true`."""
    scorer = dot_scorer()
    expected = rank(scorer, k=5, targets=torch.arange(1, 34))
    torch.set_default_dtype(torch.float64)
    try:
        found = rank(scorer, k=5, targets=torch.arange(1, 34))
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_autocast_does_not_round_scores() -> None:
    random = torch.Generator().manual_seed(0)
    users, items = torch.randn(3, 8, generator=random), torch.randn(50, 8, generator=random)
    expected = DotScorer(users, items)(0, 50)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(DotScorer(users, items)(0, 50), expected)
        rounded = DotScorer(users.bfloat16(), items)(0, 50)  # as a backbone gives them there
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, DotScorer(users.bfloat16().float(), items)(0, 50))


def test_products_of_half_precision_are_not_rounded_to_it():
    vectors, items = dot_scorer(n_items=50).user_vectors.bfloat16(), dot_scorer(n_items=50).item_vectors.bfloat16()
    expected = vectors.float() @ items.float().T
    assert len(expected.bfloat16().unique()) < len(expected.unique())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(products(vectors, items.T), expected)
        assert torch.allclose(DotScorer(vectors, items)(0, 50), expected.T, atol=1e-5)
        assert products(vectors.double(), items.T).dtype == torch.float64
