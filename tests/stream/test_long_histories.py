from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from seqrec.stream import ChunksSettings, DataSettings, LatestSettings, LongHistories, SlidingSettings
from seqrec.stream.long_histories import parts

LATEST, CHUNKS = LatestSettings(), ChunksSettings(kind="chunks")


def cut(settings: LongHistories, ends: list[int], *, max_length: int, extra_events: int) -> list[tuple[int, int, int]]:
    """(history, start, stop) of every part."""
    found = parts(settings, np.array(ends, dtype=np.int64), max_length=max_length, extra_events=extra_events)
    assert {column.dtype for column in (found.history, found.age, found.start, found.length)} == {np.dtype(np.int64)}
    return list(zip(found.history.tolist(), found.start.tolist(), (found.start + found.length).tolist(), strict=True))


def test_parts_by_hand() -> None:
    assert cut(LATEST, [3, 9], max_length=4, extra_events=1) == [(0, 0, 3), (1, 4, 9)]
    assert cut(CHUNKS, [3, 9, 10], max_length=4, extra_events=1) == [
        (0, 0, 3), (1, 4, 9), (1, 0, 5), (2, 5, 10), (2, 1, 6), (2, 0, 2)
    ]  # fmt: skip
    assert cut(CHUNKS, [4, 9], max_length=4, extra_events=0) == [(0, 0, 4), (1, 5, 9), (1, 1, 5), (1, 0, 1)]
    sliding = SlidingSettings(kind="sliding", stride=3)
    assert cut(sliding, [5, 9, 10], max_length=4, extra_events=1) == [
        (0, 0, 5), (1, 4, 9), (1, 1, 6), (1, 0, 3), (2, 5, 10), (2, 2, 7), (2, 0, 4)
    ]  # fmt: skip


def test_ages_count_back_from_the_latest_part() -> None:
    found = parts(CHUNKS, np.array([2, 9, 5]), max_length=4, extra_events=0)
    assert found.age.tolist() == [0, 0, 1, 2, 0, 1]


histories = st.lists(st.integers(2, 60), max_size=8)


@given(histories, st.integers(2, 9))
def test_chunks_aim_at_each_event_once(ends: list[int], max_length: int) -> None:
    """Next item: each event but the first is once a target, of an input with an event before it."""
    for extra_events in (0, 1):
        found = cut(CHUNKS, ends, max_length=max_length, extra_events=extra_events)
        aimed_at = [(row, i) for row, start, stop in found for i in range(start + extra_events, stop)]
        expected = [(row, i) for row, end in enumerate(ends) for i in range(extra_events, end)]
        assert sorted(aimed_at) == expected
        assert all(extra_events < stop - start <= max_length + extra_events for _, start, stop in found)


@given(histories, st.integers(2, 9), st.data())
def test_sliding_parts_are_distinct_and_leave_no_event_out(
    ends: list[int], max_length: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, max_length))
    for extra_events in (0, 1):
        longest = max_length + extra_events
        found = cut(
            SlidingSettings(kind="sliding", stride=stride), ends, max_length=max_length, extra_events=extra_events
        )
        assert len(set(found)) == len(found)
        for row, end in enumerate(ends):
            mine = [(start, stop) for history, start, stop in found if history == row]
            assert mine[0] == (max(end - longest, 0), end)  # the latest
            assert [stop for _, stop in mine] == [end - stride * i for i in range(len(mine))]
            assert [start == 0 for start, _ in mine] == [False] * (len(mine) - 1) + [True]
            assert all(start == 0 or stop - start == longest for start, stop in mine)
            assert {i for start, stop in mine for i in range(start, stop)} == set(range(end))


@given(histories, st.integers(2, 9), st.integers(0, 1))
def test_every_mode_agrees_on_histories_that_fit(ends: list[int], max_length: int, extra_events: int) -> None:
    fitting = [min(end, max_length + extra_events) for end in ends]
    whole = [(row, 0, end) for row, end in enumerate(fitting)]
    for mode in (LATEST, CHUNKS, SlidingSettings(kind="sliding", stride=1)):
        assert cut(mode, fitting, max_length=max_length, extra_events=extra_events) == whole


def test_a_stride_that_would_skip_events_is_refused() -> None:
    def settings(stride: int) -> DataSettings:
        return DataSettings.model_validate(
            {"store": "s", "max_length": 20, "long_histories": {"kind": "sliding", "stride": stride}}
        )

    assert settings(20).max_length == 20
    with pytest.raises(ValidationError, match=r"stride is 21: above max_length, 20"):
        settings(21)
