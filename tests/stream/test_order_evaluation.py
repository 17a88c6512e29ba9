import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrec.errors import StoreError
from seqrec.stream.order_evaluation import evaluation_plan

stores = st.lists(st.lists(st.integers(1, 60), max_size=50), min_size=1, max_size=8).filter(any)


def planned(units, batch_tokens=30, window_tokens=1):
    rows, tokens = np.array([len(unit) for unit in units]), np.array([sum(unit) for unit in units])
    return evaluation_plan(rows, tokens, batch_tokens=batch_tokens, window_tokens=window_tokens)


def walk(units, plan, rank=0, world_size=1):
    """The (unit, row) pairs of each batch of one rank."""
    for batch in plan.batches_of(rank, world_size):
        index = plan.window_at(batch)
        window = plan.windows[index]
        names = [(unit, row) for unit in window.units for row in range(len(units[unit]))]
        lengths = np.array([units[unit][row] for unit, row in names])
        yield batch, [names[i] for i in plan.batches(index, lengths)[batch - window.first_slot]]


@given(stores, st.integers(1, 500), st.integers(1, 8))
def test_each_row_once_in_the_same_batches_at_every_world_size(units, batch_tokens, world_size):
    plan = planned(units, batch_tokens)
    alone = dict(walk(units, plan))
    together = [dict(walk(units, plan, rank, world_size)) for rank in range(world_size)]
    assert alone == {batch: rows for rank in together for batch, rows in rank.items()}
    assert list(alone) == list(range(plan.n_batches))
    assert all(alone.values())
    assert sorted(row for rows in alone.values() for row in rows) == [
        (unit, row) for unit, lengths in enumerate(units) for row in range(len(lengths))
    ]
    assert max(map(len, together)) - min(map(len, together)) <= 1


def test_windows_are_bounded_and_in_the_stores_order():
    units = [[10] * 50] * 40
    plan = planned(units, batch_tokens=100, window_tokens=7000)
    assert [unit for window in plan.windows for unit in window.units] == list(range(40))
    assert max(500 * len(window.units) for window in plan.windows) <= 7000 + 500
    assert plan.n_batches == 200


def test_each_rank_reads_its_share_of_the_windows():
    plan = planned([[10] * 50] * 40, batch_tokens=100, window_tokens=1)
    assert len(plan.windows) == 4
    read = [{plan.window_at(batch) for batch in plan.batches_of(rank, 4)} for rank in range(4)]
    assert max(map(len, read)) <= 2


def test_windows_hold_64_batches_worth_however_small_they_are_asked_to_be():
    assert len(planned([[10] * 50] * 40, batch_tokens=100, window_tokens=1).windows) == 4  # 20,000 tokens by 6,400


def test_refuses_an_evaluation_of_nobody():
    with pytest.raises(StoreError, match="none of 2 units has a sequence to evaluate"):
        planned([[], []])
    with pytest.raises(ValueError, match="batch_tokens=0"):
        planned([[1]], batch_tokens=0)
