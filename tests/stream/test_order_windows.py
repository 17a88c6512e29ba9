from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrec.stream.order_windows import Window, apportion, cut, locate

counts = st.lists(st.integers(1, 400), min_size=1, max_size=40)


def test_cut_worked_by_hand():
    # 100 tokens in windows of at most 40: three of 33.3, and each unit goes where its middle falls (5 20 45 75 95)
    assert cut(np.array([10, 20, 30, 30, 10]), 40, 9).tolist() == [0, 2, 3, 5]
    assert cut(np.array([10, 20, 30, 30, 10]), 40, 1).tolist() == [0, 5]


@given(counts, st.integers(1, 1000), st.integers(1, 50))
def test_cut_bounds_windows(tokens, most_tokens, most_windows):
    bounds = cut(np.array(tokens), most_tokens, most_windows)
    assert (bounds[0], bounds[-1]) == (0, len(tokens))
    assert (np.diff(bounds) > 0).all()
    assert len(bounds) - 1 <= most_windows
    if -(-sum(tokens) // most_tokens) <= most_windows:
        held = np.add.reduceat(tokens, bounds[:-1])
        assert held.max() <= most_tokens + max(tokens)


def test_apportion_worked_by_hand():
    many = np.array([99, 99, 99])
    assert apportion(10, np.array([50, 30, 20]), many).tolist() == [5, 3, 2]
    assert apportion(4, np.array([100, 1, 1]), many).tolist() == [2, 1, 1]  # each has one at least
    assert apportion(5, np.array([50, 49, 1]), many).tolist() == [2, 2, 1]
    assert apportion(7, np.array([90, 5, 5]), np.array([2, 9, 9])).tolist() == [2, 3, 2]  # never more slots than rows
    assert apportion(9, np.array([90, 10]), np.array([1, 1])).sum() == 9  # too few rows in all


@given(st.data(), counts)
def test_apportion_keeps_its_promises(data, tokens):
    rows = np.array([data.draw(st.integers(1, n)) for n in tokens])
    total = data.draw(st.integers(len(tokens), 3 * len(tokens) + 200))
    slots = apportion(total, np.array(tokens), rows)
    assert slots.sum() == total
    assert slots.min() >= 1
    assert (slots <= rows).all() or rows.sum() < total


@given(counts, st.integers(0, 300))
def test_apportion_leaves_no_fuller_slot_than_it_must(tokens, extra):
    total = len(tokens) + extra
    slots = apportion(total, np.array(tokens), np.full(len(tokens), total)).tolist()
    fullest = max(Fraction(held, n) for held, n in zip(tokens, slots, strict=True))
    needed_for_less = sum(max(1, held // fullest + 1) for held in tokens)
    assert needed_for_less > total


def test_locate():
    windows = [Window((4, 1), 0, 3), Window((0,), 3, 1), Window((2, 3), 4, 2)]
    assert [locate(windows, slot) for slot in range(6)] == [0, 0, 0, 1, 2, 2]
    for slot in (-1, 6):
        with pytest.raises(IndexError, match=f"slot {slot} of 6"):
            locate(windows, slot)
