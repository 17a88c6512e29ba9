from __future__ import annotations

import pytest

from .conftest import Prepare, audit

T = 1_457_963_676


def test_figures_by_hand(prepared: Prepare) -> None:
    lines = [
        f"u,a,{T},view",
        f"u,a,{T},view",
        f"u,b,{T + 1},buy",
        f"u,a,{T + 2},view",
    ]  # one tie, one repeat, ends on a
    lines += [f"v,b,{T},view", f"v,c,{T + 60},view", f"w,c,{T},view", f"w,,{T},view"]
    store = prepared("user,item,time,action\n" + "\n".join(lines), action="action")
    found = audit(store)
    lengths = found.pop("sequence_lengths")
    assert lengths["mean"] == pytest.approx(7 / 3)
    assert [lengths[f"p{percent}"] for percent in (0, 50, 100)] == [1, 2, 4]
    assert found == {
        "users": 3,
        "items": 3,
        "events": 7,
        "share_of_neighbours_tied_in_time": 0.25,
        "share_of_neighbours_that_go_back_in_time": 0.0,
        "share_of_neighbours_that_repeat_the_item": 0.25,
        "share_of_users_whose_last_item_repeats_an_earlier": 0.5,
        "events_by_action": {"view": 6, "buy": 1},
        "times": {"first": "2016-03-14T13:54:36.000000Z", "last": "2016-03-14T13:55:36.000000Z"},
        "attributes": None,
        "rejected": {"empty item": 1},
        "cleaning": {"rounds": 0, "dropped_events": {}},
    }


def test_an_order_column_may_go_back_in_time(prepared: Prepare) -> None:
    store = prepared(f"user,item,time,n\nu,a,{T},2\nu,b,{T + 1},1\nu,c,{T + 2},3\n", order="n")
    assert audit(store)["share_of_neighbours_that_go_back_in_time"] == 0.5


def test_shares_of_nothing_are_null(prepared: Prepare) -> None:
    found = audit(prepared("u a\nv a\n", name="log.txt"))
    assert found["share_of_neighbours_that_repeat_the_item"] is None
    assert found["share_of_users_whose_last_item_repeats_an_earlier"] is None
    assert found["times"] is None
