import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from seqrec.random import draw_items, draw_weighted, perm, raw_bits, row_keys, uniform

# Golden values: if one changes, no run can be resumed across the change. Never edit them to make a test pass; where
# the order must change, raise ORDER_VERSION in seqrec/stream/order.py too.
GOLDEN_WORDS = [6843702833972396904, 13882170728361819854, 3131925999142047547]
GOLDEN_PERM = [8, 7, 0, 9, 2, 3, 4, 1, 6, 5]
GOLDEN_LONG_PERM = "e14ccfcec4c324dfc66d8d35795b833cfe86cbc968a70bf0be1a116e338fff33"
GOLDEN_ITEMS = [306717, 822536, 459377, 989336, 590897, 947489]
GOLDEN_KEYS = [6522200038312844957, 14017091498608198052, 13047748066121008952]
GOLDEN_UNIFORM = [
    [0.4352404914070819, 0.6802099405209793, 0.38462442623480597],
    [0.43736468867853684, 0.6088603364512323, 0.40970243298596565],
]


def test_golden_shared_draws():
    assert raw_bits(3, 7, 0, "golden").tolist() == GOLDEN_WORDS
    assert perm(10, 7, 0, "golden").tolist() == GOLDEN_PERM
    assert hashlib.sha256(perm(100_000, 7, 0).astype("<i8").tobytes()).hexdigest() == GOLDEN_LONG_PERM
    assert draw_items(6, 1_000_000, 7, 0).tolist() == GOLDEN_ITEMS


def test_golden_draws_by_row():
    keys = row_keys(7, 0, np.array([0, 1, 4_000_000_000]))
    assert keys.tolist() == GOLDEN_KEYS
    assert uniform(keys[:2], np.array([0, 1, 2])).tolist() == GOLDEN_UNIFORM


def test_uniform_mixes_as_splitmix64_does():
    # the first output of SplitMix64 seeded with 1234567, as its reference implementation prints it
    assert uniform(np.array([1234567], np.uint64), np.array([0])).item() == (6457827717110365317 >> 11) / 2**53


@given(st.integers(0, 300), st.integers(0, 2**63), st.integers(0, 1000))
def test_perm_is_a_permutation_and_repeats(n, seed, epoch):
    order = perm(n, seed, epoch)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))
    assert np.array_equal(order, perm(n, seed, epoch))


def test_keys_do_not_run_together():
    keys = [(1, 2), (2, 1), (12,), ("1", 2), (1, "2"), ("12",), ("a", "b"), ("ab",), (3,), (1, 2, 0), ()]
    assert len({raw_bits(1, *key)[0] for key in keys}) == len(keys)
    # neither does seed + epoch: run 1 at epoch 0 is not run 0 at epoch 1
    assert perm(20, 1, 0).tolist() != perm(20, 0, 1).tolist()


def test_numpy_integers_name_the_same_key():
    assert np.array_equal(perm(9, np.int64(3), np.int32(1)), perm(9, 3, 1))


def test_the_same_key_serves_each_function_with_its_own_bits():
    words = raw_bits(50, 3, 4)
    assert not np.array_equal(np.argsort(words, kind="stable"), perm(50, 3, 4))
    assert not np.array_equal((words >> np.uint64(32)) * np.uint64(100) >> np.uint64(32), draw_items(50, 100, 3, 4) - 1)


def test_every_element_of_a_permutation_reaches_every_place():
    orders = np.array([perm(6, seed) for seed in range(3000)])
    counts = np.array([np.bincount(orders[:, place], minlength=6) for place in range(6)])
    assert stats.chi2.sf(((counts - 500) ** 2 / 500).sum(), 25) > 1e-4


def test_draw_items_agrees_with_exact_integers():
    for n_items in (1, 2, 10, 999_983, 2**32 - 1, 2**32):
        words = raw_bits(50, "items", 5, 6).tolist()
        assert draw_items(50, n_items, 5, 6).tolist() == [1 + (word * n_items >> 64) for word in words]


def test_draw_items_is_uniform_over_the_catalogue():
    items = draw_items(100_000, 100, 0, 0)
    assert (items.min(), items.max()) == (1, 100)
    assert stats.chisquare(np.bincount(items, minlength=101)[1:]).pvalue > 1e-4


@given(st.lists(st.integers(0, 2**60), min_size=1, max_size=8).filter(any))
def test_draw_weighted_agrees_with_exact_integers(weights):
    cumulative = np.cumsum(np.array(weights, dtype=np.int64))
    below = [word * int(cumulative[-1]) >> 64 for word in raw_bits(20, "weighted", 5).tolist()]
    expected = [next(i for i, total in enumerate(cumulative.tolist()) if value < total) for value in below]
    drawn = draw_weighted(20, cumulative, 5)
    assert drawn.tolist() == expected
    assert all(weights[index] for index in drawn)


@pytest.mark.parametrize("n_items", [0, 2**32 + 1])
def test_draw_items_refuses_a_catalogue_out_of_range(n_items):
    with pytest.raises(ValueError, match="draws are made from 1"):
        draw_items(1, n_items, 0)


def test_a_longer_draw_begins_with_a_shorter_one():
    assert np.array_equal(draw_items(10, 77, 1, 2), draw_items(1000, 77, 1, 2)[:10])


def test_uniform_is_uniform_along_rows_and_along_positions():
    for n, m in ((2000, 50), (50, 2000)):
        numbers = uniform(row_keys(0, 0, np.arange(n)), np.arange(m))
        assert numbers.shape == (n, m)
        assert numbers.min() >= 0
        assert numbers.max() < 1
        assert stats.chisquare(np.histogram(numbers, bins=100, range=(0, 1))[0]).pvalue > 1e-4
        # the worst row and column mean of so many stay within five standard deviations
        for axis, size in ((0, n), (1, m)):
            assert np.abs(numbers.mean(axis=axis) - 0.5).max() < 5 * np.sqrt(1 / 12 / size)


def test_neighbouring_keys_are_uncorrelated():
    base = uniform(row_keys(0, 0, np.arange(100)), np.arange(100)).ravel()
    for seed, epoch, purpose in ((1, 0, "rows"), (0, 1, "rows"), (0, 0, "mask")):
        other = uniform(row_keys(seed, epoch, np.arange(100), purpose), np.arange(100)).ravel()
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.05
    assert abs(np.corrcoef(base[:-1], base[1:])[0, 1]) < 0.05
    assert abs(np.corrcoef(base[:-100], base[100:])[0, 1]) < 0.05


def test_a_row_draws_the_same_in_any_batch():
    rows = np.array([5, 900, 17])
    whole = uniform(row_keys(3, 1, rows), np.arange(20))
    alone = uniform(row_keys(3, 1, rows[1:2]), np.arange(7))
    assert np.array_equal(whole[1:2, :7], alone)


def test_row_keys_of_one_purpose_never_collide():
    assert len(np.unique(row_keys(0, 0, np.arange(200_000)))) == 200_000
