import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrec.stream.order_runs import like_length_runs, slot_runs

lengths_and_n = st.tuples(st.lists(st.integers(1, 60), max_size=60), st.integers(1, 25))


def cost(lengths, run):
    return len(run) * int(lengths[run].max(initial=0))


def fill_row_by_row(ordered, cap):
    """The definition: take sorted rows one by one for as long as rows * longest <= cap."""
    sizes = [0]
    for length in ordered:
        if (sizes[-1] + 1) * length > cap:
            sizes.append(0)
        sizes[-1] += 1
    return sizes


def test_worked_by_hand():
    # sorted: 1 1 2 3 6 6. Caps 7 to 11 give [1 1 2] [3] [6] [6], one run too many, as two rows of 6 cost 12;
    # cap 12 gives [1 1 2 3] [6 6], and the longer run is halved
    lengths = np.array([6, 1, 3, 1, 6, 2])
    assert [run.tolist() for run in like_length_runs(lengths, 3)] == [[1, 3], [5, 2], [0, 4]]


def test_fewer_rows_than_runs_leave_the_last_runs_empty():
    assert [run.tolist() for run in like_length_runs(np.array([5, 2]), 4)] == [[1], [0], [], []]
    assert [run.tolist() for run in slot_runs(np.array([], dtype=np.int64), 2, 0)] == [[], []]


@given(lengths_and_n)
def test_like_length_runs_are_the_definition(case):
    lengths, n = np.array(case[0], dtype=np.int64), case[1]
    runs = like_length_runs(lengths, n)
    assert len(runs) == n
    assert np.array_equal(np.concatenate(runs), np.argsort(lengths, kind="stable"))
    assert sum(len(run) == 0 for run in runs) == max(0, n - len(lengths))
    if len(lengths):
        ordered = sorted(case[0])
        caps = range(ordered[-1], ordered[-1] * len(ordered) + 1)
        smallest = next(cap for cap in caps if len(fill_row_by_row(ordered, cap)) <= n)
        assert max(cost(lengths, run) for run in runs) <= smallest


@given(lengths_and_n, st.integers(0, 9))
def test_slot_runs_are_the_same_runs_shuffled(case, seed):
    lengths, n = np.array(case[0], dtype=np.int64), case[1]
    shuffled = sorted(lengths[run].tolist() for run in slot_runs(lengths, n, seed))
    assert shuffled == sorted(lengths[run].tolist() for run in like_length_runs(lengths, n))


def test_the_key_shuffles_both_rows_and_slots():
    lengths = np.repeat([2, 5, 9], 100)
    first, second = (slot_runs(lengths, 12, 0, epoch) for epoch in (0, 1))
    assert [run.tolist() for run in first] == [run.tolist() for run in slot_runs(lengths, 12, 0, 0)]
    assert {frozenset(run.tolist()) for run in first}.isdisjoint(frozenset(run.tolist()) for run in second)
    assert [int(lengths[run[0]]) for run in first] != [int(lengths[run[0]]) for run in second]


def test_costs_keep_near_the_budget_from_64_slots_on():
    lengths = np.clip(np.random.default_rng(0).lognormal(1.9, 0.75, 14_500).astype(np.int64), 2, 50)
    budget = lengths.sum() / 64
    costs = [cost(lengths, run) for run in like_length_runs(lengths, 64)]
    assert max(costs) < 1.05 * budget
    assert min(costs) > 0.85 * budget


def test_lengths_beyond_16_bits_are_ordered_too():
    lengths = np.array([70_000, 5_000, 65_541])  # modulo 2**16: 4464, 5000, 5
    assert np.concatenate(like_length_runs(lengths, 2)).tolist() == [1, 2, 0]


@pytest.mark.parametrize(("lengths", "n"), [([1, 2], 0), ([0, 1], 2)])
def test_refuses_what_cannot_be_cut(lengths, n):
    with pytest.raises(ValueError, match="must be 1 or more"):
        like_length_runs(np.array(lengths), n)
