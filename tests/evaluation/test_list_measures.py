from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from seqrec.evaluation.list_measures import (
    IntraListDiversity,
    ListMeasure,
    Miscalibration,
    novelty_measure,
    popularity_measure,
)
from seqrec.evaluation.ratios import RatioSums
from seqrec.ranking import ItemLists, Labels, VectorSimilarity

LABELS = Labels.of(["drama", "drama|war", "war", "comedy", None, "comedy|drama"])


def histories(lists: list[list[int]]) -> ItemLists:
    flat = torch.tensor([item for some in lists for item in some], dtype=torch.long)
    return ItemLists(torch.tensor(np.cumsum([0, *map(len, lists)])), flat)


def value(measure: ListMeasure, lists: list[list[int]], *, past: list[list[int]] | None = None) -> float:
    sums = RatioSums()
    sums.add(*measure.count(np.array(lists, np.int64), histories(past or [[] for _ in lists])))
    return sums.value / measure.unit


def test_popularity_is_the_mean_over_recommendations() -> None:
    counts = np.array([10, 4, 0, 1])
    assert value(popularity_measure(counts), [[1, 2], [2, 0]]) == (10 + 4 + 4) / 3
    assert value(popularity_measure(counts), [[0, 0]]) == 0


def test_novelty_by_hand() -> None:
    # shares (3 + 1) / 8, (0 + 1) / 8: 1 and 3 bits
    assert value(novelty_measure(np.array([3, 0, 1, 0])), [[1, 2]]) == 2


def test_category_diversity_by_hand() -> None:
    diversity = IntraListDiversity("category_diversity", LABELS)
    assert value(diversity, [[1, 3]]) == 1
    assert value(diversity, [[1, 2]]) == pytest.approx(1 - 1 / math.sqrt(2), abs=1e-6)
    # pairs (1, 2), (1, 3), (2, 3); item 5 has no category, and nothing counts twice
    root = 1 / math.sqrt(2)
    assert value(diversity, [[1, 2, 3, 5]]) == pytest.approx((1 - root + 1 + 1 - root) / 3, abs=1e-6)
    assert value(diversity, [[5, 0, 0, 0]]) == 0


def test_vector_diversity_by_hand() -> None:
    vectors = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [1.0, 0.0]])
    diversity = IntraListDiversity("vector_diversity", VectorSimilarity.of(vectors))
    assert value(diversity, [[1, 2], [1, 3], [1, 4], [1, 0]]) == pytest.approx((1 + 2 + 0) / 3, abs=1e-6)


def test_miscalibration_by_hand() -> None:
    # history: drama 1 + 1/2, war 1/2 of two events; list: comedy of two items, or drama and war
    past = [[1, 2]]
    taste, alpha = {"drama": 3 / 4, "war": 1 / 4}, 0.01
    far = sum(p * math.log(p / (alpha * p)) for p in taste.values())
    assert value(Miscalibration(LABELS), [[4, 4]], past=past) == pytest.approx(far, abs=1e-6)
    shown = {"drama": 1 / 2, "war": 1 / 2}
    near = sum(p * math.log(p / ((1 - alpha) * shown[name] + alpha * p)) for name, p in taste.items())
    assert value(Miscalibration(LABELS), [[1, 3]], past=past) == pytest.approx(near, abs=1e-6)
    assert value(Miscalibration(LABELS), [[2, 1]], past=past) == 0


def test_users_without_categories_do_not_count() -> None:
    measure = Miscalibration(LABELS)
    divergence, users = measure.count(np.array([[1, 3], [5, 0], [1, 3]]), histories([[5], [1, 2], [3, 5]]))
    assert users.tolist() == [0, 0, 1]
    assert divergence[:2].tolist() == [0, 0]
    assert divergence[2] > 0
