from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from seqrec.evaluation.baselines import ItemKNN, item_knn
from seqrec.ranking.scorers import ItemLists
from seqrec.ranking.whole_catalogue import rank
from seqrec.store import Sequences


def sequences(lists: list[list[int]]) -> Sequences:
    offsets = np.cumsum([0, *map(len, lists)])
    return Sequences(np.arange(len(lists)), offsets, np.array([i for items in lists for i in items], np.int32))


def item_lists(lists: list[list[int]]) -> ItemLists:
    part = sequences(lists)
    return ItemLists(torch.from_numpy(part.offsets), torch.from_numpy(part.items).long())


def dense(lists: list[list[int]], n_items: int, neighbours: int, shrinkage: float) -> np.ndarray:
    """The formula on a dense matrix."""
    users = np.zeros((len(lists), n_items))
    for user, items in enumerate(lists):
        users[user, np.array(items, np.int64) - 1] = 1
    norms = np.sqrt(users.sum(axis=0))
    with np.errstate(invalid="ignore"):
        similarity = np.nan_to_num(users.T @ users / (np.outer(norms, norms) + shrinkage))
    np.fill_diagonal(similarity, 0)
    cut = np.argsort(-similarity, axis=0, kind="stable")[neighbours:]
    np.put_along_axis(similarity, cut, 0, axis=0)
    return similarity


def some_lists(users: int = 60, n_items: int = 25) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, n_items - 2, rng.integers(0, 9)).tolist() for _ in range(users)]


def test_cosine_by_hand():
    # item 1 has users a, b, c; item 2 has a, b; item 3 has c; repeats do not count
    knn = ItemKNN.fit([sequences([[1, 2, 1], [2, 1], [1, 3]])], 4, shrinkage=0.0)
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = 2 / math.sqrt(3 * 2)
    expected[0, 2] = expected[2, 0] = 1 / math.sqrt(3 * 1)
    shrunk = ItemKNN.fit([sequences([[1, 2, 1], [2, 1], [1, 3]])], 4, shrinkage=10.0).similarity
    assert knn.similarity.toarray() == pytest.approx(expected)
    assert shrunk.toarray()[0, 1] == pytest.approx(2 / (math.sqrt(6) + 10))


@pytest.mark.parametrize("neighbours", [1, 3, 100])
@pytest.mark.parametrize("shrinkage", [0.0, 2.0])
@pytest.mark.parametrize("pairs", [1, 40, 10**6])
def test_equals_the_dense_formula_in_any_chunks(monkeypatch, neighbours, shrinkage, pairs):
    monkeypatch.setattr(item_knn, "_CHUNK_PAIRS", pairs)
    lists = some_lists()
    parts = [sequences(lists[:20]), sequences([]), sequences(lists[20:])]
    knn = ItemKNN.fit(parts, 25, neighbours=neighbours, shrinkage=shrinkage)
    similarity = dense(lists, 25, neighbours, shrinkage)
    assert knn.similarity.toarray() == pytest.approx(similarity, abs=1e-7)
    histories = [[3, 7, 3], [], [25, 24], [1, 2, 3, 4]]
    scores = knn.scorer(item_lists(histories), np.arange(4))(0, 25).T.numpy()
    expected = [similarity[np.unique(items).astype(int) - 1].sum(axis=0) for items in histories]
    assert scores == pytest.approx(np.array(expected), abs=1e-6)


def test_scores_do_not_depend_on_the_block():
    scorer = ItemKNN.fit([sequences(some_lists())], 25).scorer(item_lists([[3, 7, 9, 11], [1, 20]]), np.arange(2))
    blocks = torch.cat([scorer(0, 1), scorer(1, 8), scorer(8, 25)])
    assert scorer.n_users == 2
    assert scorer.n_items == 25
    assert torch.equal(blocks, scorer(0, 25))
    assert scorer(3, 9).dtype == torch.float32


def test_items_without_events_score_zero_and_tie_against_the_target():
    knn = ItemKNN.fit([sequences([[1, 2]])], 5)
    scorer = knn.scorer(item_lists([[1], []]), np.arange(2))
    ranked = rank(scorer, k=4, targets=torch.tensor([5, 5]), seen=item_lists([[1], []]))
    assert ranked.target_rank.tolist() == [3, 4]
    assert ranked.top_items.tolist() == [[2, 3, 4, 5], [1, 2, 3, 4]]


def test_a_log_without_events_gives_zeros():
    assert not ItemKNN.fit([sequences([[], []])], 3).scorer(item_lists([[1, 2]]), np.arange(1))(0, 3).any()
    assert not ItemKNN.fit([], 3).scorer(item_lists([[1]]), np.arange(1))(0, 3).any()
