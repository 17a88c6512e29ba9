from __future__ import annotations

import numpy as np
import pytest

from seqrec.evaluation.bootstrap import rank_intervals
from seqrec.evaluation.metrics import rank_histogram, rank_metrics
from seqrec.evaluation.paired import group_metrics, paired_differences

MISS = 255


def ranks(users: int, share: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(users) < share, rng.integers(0, 20, users), MISS).astype(np.uint8)


def test_one_run_has_the_metrics_and_about_the_intervals_of_its_evaluation() -> None:
    found = ranks(2000, 0.3, 0)
    measured = group_metrics([found])
    histogram = rank_histogram(found.astype(np.int64), 20)
    assert {name: value.value for name, value in measured.items()} == pytest.approx(rank_metrics(histogram))
    for name, (low, high) in rank_intervals(histogram).items():
        assert measured[name].low == pytest.approx(low, abs=0.1 * (high - low))
        assert measured[name].high == pytest.approx(high, abs=0.1 * (high - low))


def test_a_group_counts_as_the_mean_over_its_seeds() -> None:
    runs = [ranks(500, 0.3, seed) for seed in range(3)]
    alone = [group_metrics([run])["ndcg@10"].value for run in runs]
    group = group_metrics(runs)["ndcg@10"]
    assert group.value == pytest.approx(np.mean(alone))
    assert group == group_metrics(runs[::-1])["ndcg@10"]


def test_pairs_tell_apart_what_two_intervals_do_not() -> None:
    # the same hits, but 30 of 2,000 users are found by one alone: sd of the difference sqrt(0.015 · 0.985 / 2000)
    reference = ranks(2000, 0.3, 0)
    better = reference.copy()
    better[np.flatnonzero(reference == MISS)[:30]] = 0
    found = paired_differences([better], [reference])["hr@20"]
    assert found.value == pytest.approx(0.015)
    margin = 1.96 * np.sqrt(0.015 * 0.985 / 2000)
    assert (found.low, found.high) == pytest.approx((0.015 - margin, 0.015 + margin), abs=0.0006)
    assert found.p_value == 2 / 10_001
    worse = paired_differences([reference], [better])["hr@20"]
    assert (worse.value, worse.p_value) == (-found.value, found.p_value)
    apart = [group_metrics([run])["hr@20"] for run in (better, reference)]
    assert apart[0].low is not None
    assert apart[1].high is not None
    assert apart[0].low < apart[1].high


def test_runs_that_are_the_same_do_not_differ() -> None:
    found = paired_differences([ranks(300, 0.3, 0)], [ranks(300, 0.3, 0)])
    assert {(one.value, one.low, one.high, one.p_value) for one in found.values()} == {(0, 0, 0, 1)}


def test_p_values_are_those_of_chance_where_there_is_no_difference() -> None:
    p_values = [
        paired_differences([ranks(400, 0.3, 2 * i)], [ranks(400, 0.3, 2 * i + 1)], replicates=400)["hr@10"].p_value
        for i in range(200)
    ]
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.1
    assert 0.4 < np.mean(p_values) < 0.6
