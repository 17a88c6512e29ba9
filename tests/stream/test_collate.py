from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqrec.stream.collate import flatten, pad

VALUES = np.array([11, 12, 13, 14, 15, 16], dtype=np.int32)


def test_padding_by_hand() -> None:
    padded = pad(VALUES, np.array([4, 0, 2]), np.array([2, 3, 1]))
    assert padded.tolist() == [[15, 16, 0], [11, 12, 13], [13, 0, 0]]
    assert padded.dtype == torch.int64


def test_flattening_by_hand() -> None:
    offsets, items = flatten(VALUES, np.array([4, 0, 2]), np.array([2, 0, 3]))
    assert offsets.tolist() == [0, 2, 2, 5]
    assert items.tolist() == [15, 16, 13, 14, 15]
    assert (offsets.dtype, items.dtype) == (np.int64, np.int64)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda pair: sum(pair) <= 6), max_size=6))
def test_both_give_the_slices_asked_for(slices: list[tuple[int, int]]) -> None:
    starts = np.array([start for start, _ in slices], dtype=np.int64)
    lengths = np.array([length for _, length in slices], dtype=np.int64)
    expected = [VALUES[start : start + length].tolist() for start, length in slices]
    offsets, items = flatten(VALUES, starts, lengths)
    assert [items[a:b].tolist() for a, b in pairwise(offsets)] == expected
    padded = pad(VALUES, starts, lengths)
    assert padded.shape == (len(slices), max([*map(len, expected), 1]) if slices else 1)
    for row, wanted in zip(padded.tolist(), expected, strict=True):
        assert row == wanted + [0] * (len(row) - len(wanted))
