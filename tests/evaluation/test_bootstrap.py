from __future__ import annotations

import numpy as np

from seqrec.evaluation.bootstrap import coverage_interval, rank_intervals
from seqrec.evaluation.metrics import coverage, rank_histogram, times_recommended


def results(users: int, n_items: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    tops = np.argsort(rng.random((users, n_items)) + np.arange(n_items) / 100, axis=1)[:, :20] + 1
    return rng.integers(-1, 40, users), tops, np.arange(n_items)[::-1] ** 2


def intervals_of_lists(tops: np.ndarray, n_items: int) -> tuple[float, float]:
    """`coverage_interval` of the lists of users 0, 1, …"""
    owners = np.zeros(n_items + 1, np.int64)
    np.add.at(owners, tops, np.arange(len(tops))[:, None])
    return coverage_interval(times_recommended(tops, n_items), owners[1:], len(tops))


def test_hit_rate_interval_is_that_of_a_proportion():
    # 400 of 1,600: standard error sqrt(1/4 * 3/4 / 1600) = 0.010825
    histogram = rank_histogram(np.repeat([0, 99], [400, 1200]), 5)
    low, high = rank_intervals(histogram, cutoffs=[5], replicates=4000)["hr@5"]
    assert abs(low - (0.25 - 1.96 * 0.010825)) < 0.002
    assert abs(high - (0.25 + 1.96 * 0.010825)) < 0.002


def test_coverage_interval_by_hand():
    # items 2, 3 and 4 have one user each: losses 0, 1, 2; variance 2/3 * ((0-1)**2 + 0 + (2-1)**2) = 4/3
    low, high = intervals_of_lists(np.array([[1, 0], [1, 2], [3, 4]]), 10)
    margin = 1.96 * (4 / 3) ** 0.5 / 10
    assert np.allclose([low, high], [0.4 - margin, 0.4 + margin])


def test_coverage_intervals_hold_the_expected_coverage():
    # a world whose expected coverage is known from many samples; the plain percentile bootstrap holds it never
    samples = [results(40, seed=seed)[1][:, :5] for seed in range(300)]
    expected = np.mean([coverage(times_recommended(tops, 200)) for tops in samples])
    held = [low <= expected <= high for low, high in (intervals_of_lists(tops, 200) for tops in samples)]
    assert np.mean(held) >= 0.93

    rng = np.random.default_rng(0)
    resampled = [coverage(times_recommended(samples[0][rng.integers(0, 40, 40)], 200)) for _ in range(500)]
    assert np.quantile(resampled, 0.975) < expected


def test_rank_intervals_hold_the_true_value_about_95_times_in_100():
    rng = np.random.default_rng(0)
    truth, held = 0.3, 0
    for seed in range(200):
        ranks = np.where(rng.random(400) < truth, 0, 99)
        low, high = rank_intervals(rank_histogram(ranks, 5), cutoffs=[5], replicates=300, seed=seed)["hr@5"]
        held += low <= truth <= high
    assert 180 <= held <= 199
