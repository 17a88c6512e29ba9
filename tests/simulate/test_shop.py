from dataclasses import fields

import numpy as np
import pytest

from seqrec.simulate import ShopLog, ShopSettings, oracle_metrics, simulate_shop
from seqrec.simulate.oracle import rank_targets

SETTINGS = ShopSettings(users=1_200, items=240, categories=8, seed=5)


@pytest.fixture(scope="module")
def shop() -> ShopLog:
    return simulate_shop(SETTINGS)


def sequences(shop: ShopLog) -> list[np.ndarray]:
    return [shop.item[shop.user == user] for user in range(len(shop.user_ids))]


def test_equal_settings_give_equal_logs_and_another_seed_another_log(shop: ShopLog) -> None:
    again, other = simulate_shop(SETTINGS), simulate_shop(SETTINGS.model_copy(update={"seed": 6}))
    for field in ("user", "item", "seconds", "action", "session"):
        np.testing.assert_array_equal(getattr(shop, field), getattr(again, field))
    for field in fields(shop.oracle["test"]):
        np.testing.assert_array_equal(
            getattr(shop.oracle["test"], field.name), getattr(again.oracle["test"], field.name)
        )
    assert not np.array_equal(shop.item[:100], other.item[:100])


def test_events_are_in_time_order_and_never_tie_for_a_user(shop: ShopLog) -> None:
    assert np.all(np.diff(shop.seconds) >= 0)
    assert all(np.all(np.diff(shop.seconds[shop.user == user]) > 0) for user in range(len(shop.user_ids)))


def test_sessions_count_up_and_lie_six_hours_apart(shop: ShopLog) -> None:
    for user in range(0, len(shop.user_ids), 10):
        mine = shop.user == user
        step, gap = np.diff(shop.session[mine]), np.diff(shop.seconds[mine])
        assert shop.session[mine][0] == 0
        assert set(step) <= {0, 1}
        assert np.all(gap[step == 1] >= 6 * 3_600)


def test_every_user_has_the_least_number_of_events(shop: ShopLog) -> None:
    counts = np.bincount(shop.user, minlength=SETTINGS.users)
    assert counts.min() == SETTINGS.events_min
    # a geometric number has its mean for standard deviation
    assert counts.mean() == pytest.approx(SETTINGS.events_mean, abs=4.5 * 20 / SETTINGS.users**0.5)


def test_targets_are_the_last_two_events(shop: ShopLog) -> None:
    for user, items in enumerate(sequences(shop)):
        assert (shop.oracle["valid"].item[user], shop.oracle["test"].item[user]) == tuple(items[-2:])


@pytest.mark.parametrize(("split", "left"), [("valid", 2), ("test", 1)])
def test_filter_leaves_out_repeats_only(shop: ShopLog, split: str, left: int) -> None:
    ranks = shop.oracle[split]  # type: ignore[index]
    repeats = [items[-left] in items[:-left] for items in sequences(shop)]
    np.testing.assert_array_equal(ranks.filter == 0, repeats)
    assert 0.08 < np.mean(repeats) < 0.3
    assert np.all(ranks.allow >= 1)
    assert np.all(ranks.filter <= ranks.allow)


def scores_of_rivals(shop: ShopLog) -> dict[str, np.ndarray]:
    """Popularity and transitions that know every event of the log, the targets too: more than a model may use."""
    items, users = len(shop.catalogue.item_ids), len(shop.user_ids)
    popularity = np.bincount(shop.item, minlength=items).astype(np.float64)
    transitions = np.zeros((items, items))
    history = sequences(shop)
    for sequence in history:
        np.add.at(transitions, (sequence[:-2], sequence[1:-1]), 1)
    last = np.array([sequence[-2] for sequence in history])
    return {
        "popular": np.broadcast_to(popularity, (users, items)),
        "markov": transitions[last] + popularity / popularity.sum(),
    }


@pytest.mark.parametrize("policy", ["allow", "filter"])
@pytest.mark.parametrize("rival", ["popular", "markov"])
def test_nothing_beats_the_oracle(shop: ShopLog, rival: str, policy: str) -> None:
    history = sequences(shop)
    seen = np.zeros((len(history), len(shop.catalogue.item_ids)), dtype=bool)
    for user, sequence in enumerate(history):
        seen[user, sequence[:-1]] = True
    best = shop.oracle["test"]
    theirs = dict(zip(("allow", "filter"), rank_targets(scores_of_rivals(shop)[rival], best.item, seen), strict=True))[
        policy
    ]
    ours = getattr(best, policy)
    np.testing.assert_array_equal(ours == 0, theirs == 0)
    won = ((ours <= 10).astype(float) - (theirs <= 10))[ours > 0]
    assert won.mean() > 4 * won.std() / won.size**0.5


def test_order_tells_much_and_popularity_little(shop: ShopLog) -> None:
    none_seen = np.zeros((SETTINGS.users, SETTINGS.items), dtype=bool)
    hit_rate = {
        name: oracle_metrics(rank_targets(scores, shop.oracle["test"].item, none_seen)[0])["hr@10"]
        for name, scores in scores_of_rivals(shop).items()
    }
    assert 2 * hit_rate["popular"] < hit_rate["markov"] < oracle_metrics(shop.oracle["test"].allow)["hr@10"] < 0.95


def test_defaults_are_some_tens_of_thousands_of_events() -> None:
    shop = simulate_shop()
    assert 40_000 < len(shop) < 60_000
    hit_rate = oracle_metrics(shop.oracle["test"].filter[shop.oracle["test"].filter > 0])["hr@10"]
    assert 0.5 < hit_rate < 0.65
