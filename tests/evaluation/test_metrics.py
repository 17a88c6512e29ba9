from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from seqrec.errors import MetricError
from seqrec.evaluation.metrics import (
    coverage,
    cutoffs_within,
    gini,
    rank_gains,
    rank_histogram,
    rank_metrics,
    times_recommended,
)

RANKS = np.array([0, 1, 4, 5, 19, 20, -1, 3])


def test_histogram_keeps_ranks_and_puts_misses_last():
    assert rank_histogram(RANKS, 5).tolist() == [1, 1, 0, 1, 1, 4]


def test_hit_rate_by_hand():
    metrics = rank_metrics(rank_histogram(RANKS, 20))
    assert metrics["hr@5"] == Fraction(4, 8)
    assert metrics["hr@10"] == Fraction(5, 8)
    assert metrics["hr@20"] == Fraction(6, 8)


def test_reciprocal_rank_by_hand():
    metrics = rank_metrics(rank_histogram(RANKS, 20))
    within_5 = Fraction(1) + Fraction(1, 2) + Fraction(1, 5) + Fraction(1, 4)
    assert metrics["mrr@5"] == pytest.approx(float(within_5 / 8), rel=1e-15)
    assert metrics["mrr@10"] == pytest.approx(float((within_5 + Fraction(1, 6)) / 8), rel=1e-15)
    assert metrics["mrr@20"] == pytest.approx(float((within_5 + Fraction(1, 6) + Fraction(1, 20)) / 8), rel=1e-15)


def test_ndcg_by_hand():
    # ranks 0, 2 and 6 have discounts log2 of 2, 4 and 8: 1, 1/2 and 1/3
    metrics = rank_metrics(rank_histogram(np.array([0, 2, 6, 100]), 20))
    assert metrics["ndcg@5"] == pytest.approx(float(Fraction(3, 2) / 4))
    assert metrics["ndcg@10"] == pytest.approx(float(Fraction(11, 6) / 4))


def test_gains_end_with_the_cutoff_and_for_misses():
    gains = rank_gains([2, 3])
    assert gains["hr@2"].tolist() == [1, 1, 0, 0]
    assert gains["ndcg@3"].tolist() == [1, 1 / math.log2(3), 0.5, 0]


def test_coverage_counts_items_of_any_list_without_padding():
    assert coverage(times_recommended(np.array([[1, 2], [2, 5], [1, 0]]), 10)) == 3 / 10


def test_gini_by_hand():
    assert gini(np.array([3, 3, 3])) == 0
    assert gini(np.array([0, 0, 8, 0])) == 3 / 4  # the most that four items can have: 1 - 1 / N
    # Σ (2r - 3 - 1) t_r / (3 · 6) = (-2·1 + 0·2 + 2·3) / 18
    assert gini(np.array([2, 3, 1])) == 4 / 18
    assert gini(np.zeros(4, np.int64)) == 0


def test_no_users_is_an_error():
    with pytest.raises(MetricError, match="no users to evaluate"):
        rank_metrics(rank_histogram(np.array([], np.int64), 20))


def test_lists_have_the_cutoffs_that_they_reach() -> None:
    assert [cutoffs_within(limit) for limit in (None, 20, 12, 5)] == [(5, 10, 20), (5, 10, 20), (5, 10), (5,)]
    with pytest.raises(MetricError, match="lists of at most 4 items are too short for metrics at 5, 10, 20"):
        cutoffs_within(4)
