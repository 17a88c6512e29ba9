from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from seqrec.errors import MissingExtraError
from seqrec.evaluation.baselines import MatrixFactorisation
from seqrec.evaluation.baselines.matrix_factorisation import Method
from seqrec.ranking import ItemLists, rank
from seqrec.store import Sequences

# two groups of users with tastes of their own: items 1..6 and 7..12
LISTS = [np.random.default_rng(user).permutation(6)[:4] + 1 + 6 * (user % 2) for user in range(60)]


def sequences(users: range) -> Sequences:
    items = np.concatenate([LISTS[user] for user in users]).astype(np.int32)
    return Sequences(np.array(users), np.arange(0, 4 * len(users) + 1, 4), items)


def fitted(method: Method) -> MatrixFactorisation:
    parts = [sequences(range(25)), sequences(range(25, 60))]
    return MatrixFactorisation.fit(parts, 61, 12, method=method, factors=2, iterations=30)


def histories(rows: list[int]) -> ItemLists:
    lists = [LISTS[row] if row < 60 else LISTS[0][:0] for row in rows]
    offsets = np.cumsum([0, *map(len, lists)])
    return ItemLists(torch.from_numpy(offsets), torch.from_numpy(np.concatenate(lists)))


@pytest.mark.parametrize("method", ["als", "bpr"])
def test_recommends_what_users_of_the_same_taste_have(method: Method) -> None:
    rows = [0, 1, 31, 50]
    seen = histories(rows)
    top = rank(fitted(method).scorer(seen, np.array(rows)), k=2, seen=seen).top_items
    assert ((top > 6).int() == torch.tensor([[row % 2] * 2 for row in rows])).all()


@pytest.mark.parametrize("method", ["als", "bpr"])
def test_two_fits_are_the_same(method: Method) -> None:
    one, other = (fitted(method).model for _ in range(2))
    assert (one.item_factors == other.item_factors).all()


def test_als_knows_a_history_that_was_not_trained_on_and_bpr_does_not() -> None:
    taste = ItemLists(torch.tensor([0, 3]), torch.tensor([7, 8, 9]))
    als = rank(fitted("als").scorer(taste, np.array([60])), k=3, seen=taste).top_items
    assert (als > 6).all()
    model = fitted("bpr")
    assert torch.equal(model.scorer(taste, np.array([60]))(0, 12), model.scorer(histories([0]), np.array([60]))(0, 12))


def test_without_the_package_the_extra_is_named(monkeypatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "implicit"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(MissingExtraError, match=r"seqrec\[baselines\]"):
        fitted("als")
