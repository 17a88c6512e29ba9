from __future__ import annotations

from collections import Counter

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrec.errors import LogError
from seqrec.logs import CleanSettings
from seqrec.logs.cleaning import Cleaning, clean

Pairs = list[tuple[str, str]]


def run(pairs: Pairs, users: int, items: int) -> tuple[Pairs, Cleaning]:
    with duckdb.connect() as connection:
        connection.execute('CREATE TABLE events ("user" VARCHAR, item VARCHAR)')
        connection.executemany("INSERT INTO events VALUES (?, ?)", [list(pair) for pair in pairs])
        cleaning = clean(connection, CleanSettings(min_user_events=users, min_item_events=items))
        return connection.execute("FROM events").fetchall(), cleaning


def test_one_pass_is_not_enough() -> None:
    # x is rare; without it v has one event, without v so has b; u, w and a are left
    pairs = [("u", "a"), ("u", "a"), ("v", "x"), ("v", "b"), ("w", "a"), ("w", "b"), ("w", "a")]
    left, cleaning = run(pairs, users=2, items=2)
    assert left == [("u", "a"), ("u", "a"), ("w", "a"), ("w", "a")]
    assert cleaning == Cleaning(dropped={"min_item_events": 2, "min_user_events": 1}, rounds=2)


def test_minimums_of_one_drop_nothing() -> None:
    assert run([("u", "a")], 1, 1) == ([("u", "a")], Cleaning({}, 0))


def test_nothing_left() -> None:
    with pytest.raises(LogError, match=r"(?s)no event is left.*min_user_events 1.*logs.clean"):
        run([("u", "a")], 2, 1)


@given(
    st.lists(st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("abcdef")), min_size=1, max_size=40),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_the_rest_is_the_largest_core(pairs: Pairs, users: int, items: int) -> None:
    core = pairs
    while True:
        by_user, by_item = Counter(user for user, _ in core), Counter(item for _, item in core)
        smaller = [(user, item) for user, item in core if by_user[user] >= users and by_item[item] >= items]
        if len(smaller) == len(core):
            break
        core = smaller
    if not core:
        with pytest.raises(LogError, match="no event is left"):
            run(pairs, users, items)
    else:
        left, cleaning = run(pairs, users, items)
        assert sorted(left) == sorted(core)
        assert sum(cleaning.dropped.values()) == len(pairs) - len(core)
