from __future__ import annotations

import numpy as np

from seqrec.evaluation.slices import Slice, Slices


def names(slices: Slices, target: int, length: int, trained: int) -> list[Slice]:
    places = slices.places(np.array([target]), np.array([length]), np.array([trained]))
    return [slices.names[place] for place in places[:, 0]]


def test_each_user_is_in_one_slice_of_each_kind() -> None:
    # 30 events; a third are those of item 1, two thirds those of items 1, 2 and 3
    slices = Slices(np.array([10, 6, 5, 3, 3, 2, 1, 0]))
    assert names(slices, 1, 5, 3) == [
        ("target", "head, 10 or more training events"), ("history", "1 to 5 events"), ("user", "known"),
    ]  # fmt: skip
    assert names(slices, 3, 6, 0) == [
        ("target", "middle, 5 to 9 training events"), ("history", "6 to 10 events"), ("user", "new"),
    ]  # fmt: skip
    assert names(slices, 7, 100, 1)[0] == ("target", "tail, 1 to 4 training events")
    assert names(slices, 8, 101, 1)[:2] == [("target", "cold"), ("history", "101 or more events")]


def test_where_all_items_are_alike_they_are_one_bucket() -> None:
    slices = Slices(np.array([1, 1, 1, 0]))
    assert {names(slices, item, 1, 1)[0].label for item in (1, 2, 3)} == {"tail, 1 training events"}
    assert names(slices, 4, 1, 1)[0].label == "cold"


def test_nothing_trained_on() -> None:
    assert names(Slices(np.zeros(3, np.int64)), 2, 1, 0)[0].label == "cold"
