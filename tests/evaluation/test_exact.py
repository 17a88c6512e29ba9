from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqrec.evaluation import exact


@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)), max_size=20))
def test_sums_are_those_of_pythons_integers(pairs: list[tuple[int, int]]) -> None:
    x, y = (np.array(column, np.int64) for column in (zip(*pairs, strict=True) if pairs else ((), ())))
    assert exact.total(x) == sum(a for a, _ in pairs)
    assert exact.dot(x, y) == sum(a * b for a, b in pairs)


def test_many_blocks_add_up(monkeypatch) -> None:
    monkeypatch.setattr(exact, "_BLOCK", 2)
    monkeypatch.setattr(exact, "_LIMB_BITS", 1)
    assert exact.dot(np.arange(11), np.arange(11)) == 385
