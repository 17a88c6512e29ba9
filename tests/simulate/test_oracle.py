import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrec.simulate import oracle_metrics
from seqrec.simulate.oracle import rank_targets


def test_ranks_by_hand() -> None:
    probability = np.array([[0.4, 0.3, 0.2, 0.1]] * 3)
    seen = np.array([[True, False, False, False], [True, True, False, False], [False, False, True, False]])
    allow, unseen = rank_targets(probability, np.array([1, 3, 2]), seen)
    np.testing.assert_array_equal(allow, [2, 4, 3])
    np.testing.assert_array_equal(unseen, [1, 2, 0])  # the third target was seen


def test_ties_count_against_the_target() -> None:
    allow, unseen = rank_targets(np.array([[0.25] * 4]), np.array([0]), np.array([[False, True, False, False]]))
    assert (allow[0], unseen[0]) == (4, 3)


def test_metrics_by_hand() -> None:
    metrics = oracle_metrics([1, 3, 11], cutoffs=(2, 10))
    assert metrics == pytest.approx(
        {"hr@2": 1 / 3, "ndcg@2": 1 / 3, "mrr@2": 1 / 3, "hr@10": 2 / 3, "ndcg@10": (1 + 1 / 2) / 3, "mrr@10": 4 / 9}
    )


@pytest.mark.parametrize("ranks", [[], [0, 1]])
def test_ranks_begin_at_one(ranks: list[int]) -> None:
    with pytest.raises(ValueError, match="ranks begin at 1"):
        oracle_metrics(ranks)


@given(st.lists(st.integers(1, 50), min_size=1))
def test_metrics_are_ordered(ranks: list[int]) -> None:
    metrics = oracle_metrics(ranks, cutoffs=(5, 10))
    for k in (5, 10):
        assert 0 <= metrics[f"mrr@{k}"] <= metrics[f"ndcg@{k}"] + 1e-12 <= metrics[f"hr@{k}"] + 2e-12
    assert metrics["hr@5"] <= metrics["hr@10"]
