from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from seqrec.errors import RecipeError, UnsupportedError
from seqrec.store import SequenceStore
from seqrec.store.split import LeaveOneOutSettings, Split, Targets, TemporalSettings, resolve

MakeStore = Callable[..., SequenceStore]
SECOND = 1_000_000
SHORT = [[1, 2, 3, 4], [2, 3], [4], [1, 2, 3]]


def at(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def temporal(first: Any = None, second: Any = None, **more: Any) -> TemporalSettings:
    return TemporalSettings(kind="temporal", validation_from=first or at(10), test_from=second or at(20), **more)


def train_ends(split: Split, store: SequenceStore) -> list[int]:
    return np.concatenate([split.train_end(sequences) for sequences in store.scan(split.columns)]).tolist()


def one_unit(split: Split, store: SequenceStore, part: Any) -> Targets:
    return split.targets(store.read(store.units[0], columns=split.columns), part)


def reasons(targets: Targets) -> dict[str, list[int]]:
    """Users left out, by reason."""
    return {reason: np.flatnonzero(users).tolist() for reason, users in targets.left_out.items()}


def test_classic_leave_one_out_by_hand(make_store: MakeStore) -> None:
    store = make_store(SHORT)
    split = resolve(LeaveOneOutSettings(), store)
    assert train_ends(split, store) == [2, 0, 0, 1]
    validation, test = one_unit(split, store, "validation"), one_unit(split, store, "test")
    assert validation.position.tolist() == [2, -1, -1, 1]
    assert validation.history_end[[0, 3]].tolist() == [2, 1]
    assert reasons(validation) == {"no target": [2], "no history": [1]}
    assert test.position.tolist() == [3, 1, -1, 2]
    assert test.history_end[[0, 1, 3]].tolist() == [3, 1, 2]
    assert reasons(test) == {"no target": [], "no history": [2]}
    assert split.train_counts.tolist() == [0, 2, 1, 0, 0]


def test_only_the_drawn_users_give_up_an_event_for_validation(make_store: MakeStore) -> None:
    rows = [*SHORT, [1, 2, 3, 4, 1]]
    store = make_store(rows)
    split = resolve(LeaveOneOutSettings(validation_users=2), store)
    targets = one_unit(split, store, "validation")
    drawn = np.flatnonzero(targets.position >= 0)
    assert len(drawn) == 2
    assert set(drawn) <= {0, 3, 4}  # shorter ones would be left without anything to train on
    expected = [max(len(row) - (2 if user in drawn else 1), 0) for user, row in enumerate(rows)]
    assert train_ends(split, store) == expected
    assert targets.position[drawn].tolist() == [len(rows[user]) - 2 for user in drawn]
    assert one_unit(split, store, "test").position.tolist() == [3, 1, -1, 2, 4]  # as in the classic protocol
    assert reasons(targets)["no history"] == []


def test_a_refit_trains_on_validation_targets_and_validates_nothing(make_store: MakeStore) -> None:
    store = make_store(SHORT)
    split = resolve(LeaveOneOutSettings(refit=True), store)
    assert train_ends(split, store) == [3, 1, 0, 2]
    assert one_unit(split, store, "test").position.tolist() == [3, 1, -1, 2]
    assert split.describe()["refit"] is True
    with pytest.raises(UnsupportedError, match=r"(?s)data.split.refit: validation targets were trained on.*do: "):
        one_unit(split, store, "validation")
    with pytest.raises(ValidationError, match="leave `validation_users` null"):
        LeaveOneOutSettings(refit=True, validation_users=2)


def test_more_validation_users_than_there_are_takes_all_that_can(make_store: MakeStore) -> None:
    store = make_store(SHORT)
    split = resolve(LeaveOneOutSettings(validation_users=2048), store)
    assert one_unit(split, store, "validation").position.tolist() == [2, -1, -1, 1]
    assert train_ends(split, store) == [2, 1, 0, 1]


def test_the_draw_follows_its_seed_and_not_the_units(make_store: MakeStore) -> None:
    rows = [[1, 2, 3]] * 40
    whole, in_units = make_store(rows), make_store(rows, per_unit=7)
    draws = set()
    for seed in range(5):
        protocol = LeaveOneOutSettings(validation_users=8, seed=seed)
        ends = train_ends(resolve(protocol, whole), whole)
        assert ends == train_ends(resolve(protocol, in_units), in_units)
        assert ends.count(1) == 8
        draws.add(tuple(ends))
    assert len(draws) == 5


TIMES = [[5, 10, 11, 20, 21], [15, 25], [1, 2], [20, 20], [3, 20]]
ITEMS = [[1, 2, 3, 4, 5], [1, 2], [3, 4], [1, 1], [2, 6]]
ACTIONS = [[1, 0, 0, 1, 0], [0, 1], [0, 0], [1, 1], [0, 1]]


def timed(make_store: MakeStore, **more: Any) -> SequenceStore:
    times = [[second * SECOND for second in row] for row in TIMES]
    return make_store(ITEMS, times, ACTIONS, action_names=["view", "buy"], **more)


def test_temporal_cuts_by_hand(make_store: MakeStore) -> None:
    """An event exactly at a cut lies before it."""
    store = timed(make_store)
    split = resolve(temporal(), store)
    assert train_ends(split, store) == [2, 0, 2, 0, 1]
    validation, test = one_unit(split, store, "validation"), one_unit(split, store, "test")
    assert validation.position.tolist() == [2, -1, -1, -1, 1]
    assert validation.history_end.tolist() == [2, 0, 2, 0, 1]
    assert reasons(validation) == {"no target": [2], "no history": [1, 3]}
    assert test.position.tolist() == [4, 1, -1, -1, -1]
    assert test.history_end.tolist() == [4, 1, 2, 2, 2]
    assert reasons(test) == {"no target": [2, 3, 4], "no history": []}
    assert split.train_counts.tolist() == [0, 1, 2, 1, 1, 0, 0]


def test_target_actions_choose_the_target_and_not_the_history(make_store: MakeStore) -> None:
    store = timed(make_store)
    split = resolve(temporal(target_actions=["buy"]), store)
    validation = one_unit(split, store, "validation")
    assert validation.position.tolist() == [3, -1, -1, -1, 1]  # u0's view at 11 is no target …
    assert validation.history_end.tolist() == [2, 0, 2, 0, 1]  # … nor known at the cut
    assert one_unit(split, store, "test").position.tolist() == [-1, 1, -1, -1, -1]
    assert train_ends(split, store) == [2, 0, 2, 0, 1]


def test_cold_targets_are_left_out_where_told(make_store: MakeStore) -> None:
    store = timed(make_store)
    assert one_unit(resolve(temporal(), store), store, "test").position.tolist() == [4, 1, -1, -1, -1]
    targets = one_unit(resolve(temporal(drop_cold_targets=True), store), store, "test")
    assert targets.position.tolist() == [-1, 1, -1, -1, -1]  # item 5 has no event until 10
    assert reasons(targets) == {"no target": [2, 3, 4], "no history": [], "cold target": [0]}


def test_a_share_is_a_percentile_of_the_event_times(make_store: MakeStore) -> None:
    percentiles = [second * SECOND for second in range(101)]
    store = timed(make_store, percentiles=percentiles)
    split = resolve(temporal(0.1, 0.29), store)  # 0.29 * 100 is 28.999999999999996
    described = split.describe()
    assert described["validation_from"] == "1970-01-01T00:00:10+00:00"
    assert described["test_from"] == "1970-01-01T00:00:29+00:00"
    assert described["kind"] == "temporal"
    assert train_ends(split, store) == [2, 0, 2, 0, 1]


def test_a_time_without_zone_is_utc(make_store: MakeStore) -> None:
    naive = temporal(datetime(1970, 1, 1, 0, 0, 10), datetime(1970, 1, 1, 0, 0, 20))
    store = timed(make_store)
    assert resolve(naive, store).describe() == resolve(temporal(), store).describe()


@given(
    users=st.lists(
        st.lists(st.integers(0, 30), min_size=1, max_size=8).map(sorted), min_size=1, max_size=6
    ),
    cuts=st.tuples(st.integers(1, 30), st.integers(1, 30)).filter(lambda pair: pair[0] != pair[1]).map(sorted),
    target_actions=st.sampled_from([None, ["buy"]]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_nothing_after_the_cut_leaks(
    make_store: MakeStore, users: list[list[int]], cuts: list[int], target_actions: list[str] | None
) -> None:
    times = [[second * SECOND for second in row] for row in users]
    actions = [[(second * 7 + user) % 2 for second in row] for user, row in enumerate(users)]
    store = make_store([[1] * len(row) for row in users], times, actions, action_names=["view", "buy"])
    split = resolve(temporal(at(cuts[0]), at(cuts[1]), target_actions=target_actions), store)
    assert split.train_counts.sum() == sum(second <= cuts[0] for row in users for second in row)
    for row, end in zip(users, train_ends(split, store), strict=True):
        assert all(second <= cuts[0] for second in row[:end])
    for part, start, stop in (("validation", *cuts), ("test", cuts[1], 31)):
        targets = one_unit(split, store, part)
        for user, row in enumerate(users):
            end, position = targets.history_end[user], targets.position[user]
            assert all(second <= start for second in row[:end])
            assert all(second > start for second in row[end:])  # and the history is all that was known
            wanted = [
                i for i, second in enumerate(row)
                if start < second <= stop and (target_actions is None or actions[user][i] == 1)
            ]  # fmt: skip
            assert position == (wanted[0] if wanted and end else -1)


@given(
    users=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=8), min_size=1, max_size=6),
    cuts=st.tuples(st.integers(1, 30), st.integers(1, 30)).filter(lambda pair: pair[0] != pair[1]).map(sorted),
)
@settings(max_examples=40, deadline=None)
def test_nothing_leaks_where_the_order_of_a_log_is_not_that_of_its_times(
    make_store: MakeStore, users: list[list[int]], cuts: list[int]
) -> None:
    store = make_store([[1] * len(row) for row in users], [[second * SECOND for second in row] for row in users])
    split = resolve(temporal(at(cuts[0]), at(cuts[1])), store)
    for row, end in zip(users, train_ends(split, store), strict=True):
        assert all(second <= cuts[0] for second in row[:end])
        assert row[end:][:1] == [] or row[end] > cuts[0]
    for part, start in (("validation", cuts[0]), ("test", cuts[1])):
        targets = one_unit(split, store, part)
        for row, end, position in zip(users, targets.history_end, targets.position, strict=True):
            assert all(second <= start for second in row[:end])
            assert position == -1 or (position >= end and row[position] > start)


@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=8), wanted=st.none() | st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_leave_one_out_targets_are_never_trained_on(
    make_store: MakeStore, lengths: list[int], wanted: int | None
) -> None:
    store = make_store([[1] * length for length in lengths])
    split = resolve(LeaveOneOutSettings(validation_users=wanted), store)
    ends = np.array(train_ends(split, store))
    validation, test = one_unit(split, store, "validation"), one_unit(split, store, "test")
    for targets in (validation, test):
        chosen = targets.position >= 0
        assert (targets.position[chosen] >= ends[chosen]).all()
        assert (targets.history_end[chosen] == targets.position[chosen]).all()
        assert (targets.history_end[chosen] >= 1).all()
    eligible = sum(length >= 3 for length in lengths)
    assert (validation.position >= 0).sum() == (eligible if wanted is None else min(wanted, eligible))


def test_a_store_without_times_has_no_temporal_split(make_store: MakeStore) -> None:
    with pytest.raises(UnsupportedError, match=r"(?s)data\.split: .*needs times.*leave_one_out"):
        resolve(temporal(), make_store(SHORT))


def test_cuts_in_the_wrong_order_are_refused_with_their_dates(make_store: MakeStore) -> None:
    with pytest.raises(RecipeError, match=r"(?s)00:00:20\+00:00, is not before .*00:00:10\+00:00.*`validation_from`"):
        resolve(temporal(at(20), at(10)), timed(make_store))
    with pytest.raises(RecipeError, match="is not before"):
        resolve(temporal(at(10), at(10)), timed(make_store))


def test_an_unknown_action_is_refused_with_the_nearest(make_store: MakeStore) -> None:
    with pytest.raises(RecipeError, match=r"(?s)target_actions: .*'bye' \(did you mean 'buy'\?\).*view, buy"):
        resolve(temporal(target_actions=["bye"]), timed(make_store))
    times = [[SECOND] * len(row) for row in SHORT]
    with pytest.raises(RecipeError, match="no actions at all"):
        resolve(temporal(target_actions=["buy"]), make_store(SHORT, times))


@pytest.mark.parametrize("cut", [0.855, 0.0, 1.0, 1.5, -0.1, float("nan")])
def test_shares_are_whole_percents(cut: float) -> None:
    with pytest.raises(ValidationError, match="no whole percent"):
        TemporalSettings(kind="temporal", validation_from=cut)
    with pytest.raises(ValidationError, match="no whole percent"):
        TemporalSettings(kind="temporal", test_from=cut)


def test_every_whole_percent_is_taken() -> None:
    for percent in range(1, 100):
        TemporalSettings(kind="temporal", validation_from=percent / 100)
