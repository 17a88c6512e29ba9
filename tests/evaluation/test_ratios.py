from __future__ import annotations

import numpy as np

from seqrec.evaluation.ratios import RatioSums


def test_interval_is_that_of_a_mean():
    # half of the users have 0 of one, half 10: standard error 5 / sqrt(400) = 0.25
    sums = RatioSums()
    sums.add(np.repeat([0, 10], 200), np.ones(400, np.int64))
    low, high = sums.interval(400)
    assert sums.value == 5
    assert abs(low - (5 - 0.49)) < 0.001
    assert abs(high - (5 + 0.49)) < 0.001


def test_interval_is_that_of_resamples_where_lists_are_of_unequal_length():
    rng = np.random.default_rng(0)
    counts = np.arange(30) ** 3
    lists = np.where(np.arange(10) < rng.integers(1, 11, 2000)[:, None], rng.integers(1, 31, (2000, 10)), 0)
    events, per_user = np.r_[0, counts][lists].sum(axis=1), np.count_nonzero(lists, axis=1)
    sums = RatioSums()
    sums.add(events, per_user)
    found = sums.interval(2000)
    drawn = rng.integers(0, 2000, (2000, 2000))
    resampled = np.quantile(events[drawn].sum(axis=1) / per_user[drawn].sum(axis=1), [0.025, 0.975])
    assert np.abs(np.array(found) - resampled).max() < 0.1 * (found[1] - found[0])


def test_huge_sums_do_not_overflow():
    sums = RatioSums()
    sums.add(np.full(3, 2 * 10**11), np.full(3, 20))
    assert (sums.value, *sums.interval(3)) == (1e10, 1e10, 1e10)


def test_nothing_at_all_is_zero():
    assert (RatioSums().value, RatioSums().interval(0)) == (0, (0, 0))
