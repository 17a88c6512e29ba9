"""The process: its distributions by hand, and what is drawn against what it says."""

from dataclasses import replace

import numpy as np
import pytest

from seqrec.simulate.behaviour import NONE, Action, Behaviour, Situation, Turn, draw_population
from seqrec.simulate.catalogue import Floats, ShopCatalogue, make_catalogue
from seqrec.simulate.settings import ShopSettings
from seqrec.simulate.shop import simulate_shop, streams

SETTINGS = ShopSettings(users=1_500, items=120, categories=6, days=30, events_mean=15, seed=11)


def walk(settings: ShopSettings) -> tuple[Behaviour, list[Turn]]:
    catalogue_rng, user_rng, event_rng, _ = streams(settings.seed)
    catalogue = make_catalogue(settings, catalogue_rng)
    behaviour = Behaviour(settings, catalogue)
    return behaviour, list(behaviour.walk(draw_population(settings, catalogue, user_rng), event_rng))


@pytest.fixture(scope="module")
def walked() -> tuple[Behaviour, list[Turn]]:
    return walk(SETTINGS)


@pytest.fixture(scope="module")
def small() -> Behaviour:
    """Two categories of six items: the alternatives of each are the five others of its category."""
    settings = ShopSettings(
        items=12, categories=2, follow=0.5, return_to=0.2, persist=0.6, resume=0.3, cart=0.1, purchase=0.4,
        revisit=0.5, new_session=0.25,
    )  # fmt: skip
    catalogue = make_catalogue(settings, np.random.Generator(np.random.Philox(0)))
    return Behaviour(settings, replace(catalogue, category=np.arange(12) // 6, **_successors()))


def _successors() -> dict[str, np.ndarray]:
    alternatives = [[j for j in range(6 * (i // 6), 6 * (i // 6) + 6) if j != i] for i in range(12)]
    complements = [[(j + 6) % 12 for j in row] for row in alternatives]
    return {"alternatives": np.array(alternatives), "complements": np.array(complements)}


def situation(last: int, before: int = NONE, action: Action = Action.browse, seen: tuple[int, ...] = ()) -> Situation:
    shelf = np.full((1, 12), 1 / 6)
    return Situation(
        last=np.array([last]), before=np.array([before]), action=np.array([int(action)]), intent=np.array([0]),
        shelf=shelf, next_shelf=shelf, taste=np.array([[0.2, 0.8]]), next_taste=np.array([[0.5, 0.5]]),
        seen=np.isin(np.arange(12), seen)[None],
    )  # fmt: skip


def test_move_by_hand(small: Behaviour) -> None:
    # 0.3 of interest: 0.6 in the session's category 0, 0.4 by taste (0.2, 0.8); a sixth of it on each item
    interest = np.repeat([0.3 * (0.6 + 0.4 * 0.2) / 6, 0.3 * 0.4 * 0.8 / 6], 6)
    expected = interest.copy()
    expected[1:6] += 0.5 * np.array([0.4, 0.25, 0.15, 0.12, 0.08])  # alternatives of item 0
    expected[6:11] += 0.2 * np.array([0.4, 0.25, 0.15, 0.12, 0.08])  # alternatives of item 11
    np.testing.assert_allclose(small.move(situation(0, before=11))[0], expected, rtol=1e-12)


def test_after_a_purchase_come_its_complements(small: Behaviour) -> None:
    looked, bought = (small.move(situation(0, action=action))[0] for action in (Action.browse, Action.purchase))
    assert looked[1:6].sum() > 3 * looked[7:12].sum()
    assert bought[7:12].sum() > 3 * bought[1:6].sum()


def test_open_by_hand(small: Behaviour) -> None:
    expected = np.full(12, 0.7 * 0.5 / 6)
    expected[1:6] += 0.3 * np.array([0.4, 0.25, 0.15, 0.12, 0.08])
    np.testing.assert_allclose(small.open(situation(0))[0], expected, rtol=1e-12)


def test_seen_items_weigh_less(small: Behaviour) -> None:
    fresh, seen = small.open(situation(0))[0], small.open(situation(0, seen=(0, 7)))[0]
    np.testing.assert_allclose((seen / fresh)[[0, 7]] / (seen / fresh)[1], 0.5)


@pytest.mark.parametrize(("action", "stay"), [(Action.browse, 0.1), (Action.cart, 0.4), (Action.purchase, 0.0)])
def test_next_item_mixes_its_parts(small: Behaviour, action: Action, stay: float) -> None:
    now = situation(3, before=2, action=action, seen=(2, 3))
    expected = 0.25 * small.open(now) + 0.75 * (1 - stay) * small.move(now)
    expected[0, 3] += 0.75 * stay
    np.testing.assert_allclose(small.next_item(now), expected, rtol=1e-12)


def test_a_first_event_opens_a_session_without_a_past(small: Behaviour) -> None:
    np.testing.assert_allclose(small.next_item(situation(NONE))[0], 1 / 12)


def test_distributions_sum_to_one_and_leave_out_what_is_not_launched(walked: tuple[Behaviour, list[Turn]]) -> None:
    behaviour, turns = walked
    for turn in turns[:12]:
        now = turn.situation
        probability = behaviour.next_item(now)
        np.testing.assert_allclose(probability.sum(axis=1), 1)
        assert not np.any(probability[(now.shelf == 0) & (now.next_shelf == 0)])


def test_frequencies_match_the_oracle_s_probabilities(walked: tuple[Behaviour, list[Turn]]) -> None:
    """Calibration: items given a probability in a bin are drawn that often, over all users and positions."""
    behaviour, turns = walked
    edges = np.array([0, 0.001, 0.003, 0.01, 0.02, 0.04, 0.08, 0.12, 0.18, 0.25, 0.4, 1.0])
    expected, variance, drawn = np.zeros(11), np.zeros(11), np.zeros(11)
    for turn in turns:
        probability = behaviour.next_item(turn.situation)
        place = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, 10)
        hit = probability[np.arange(len(turn.item)), turn.item]
        expected += np.bincount(place.ravel(), probability.ravel(), minlength=11)
        variance += np.bincount(place.ravel(), (probability * (1 - probability)).ravel(), minlength=11)
        drawn += np.bincount(place[np.arange(len(hit)), turn.item], minlength=11)
    assert drawn.sum() == sum(len(turn.item) for turn in turns) > 20_000
    assert np.all(np.abs(drawn - expected) < 4.5 * np.sqrt(variance + 1)), (drawn, expected)


def test_hits_of_the_oracle_are_as_many_as_it_expects(walked: tuple[Behaviour, list[Turn]]) -> None:
    behaviour, turns = walked
    for k in (1, 5, 10):
        expected, variance, hits = _top(behaviour, turns, k)
        assert abs(hits - expected) < 4.5 * np.sqrt(variance)


def test_a_wrong_process_fails_the_calibration(walked: tuple[Behaviour, list[Turn]]) -> None:
    """The two tests above can fail: another shop's probabilities are far off."""
    behaviour, turns = walked
    other = Behaviour(SETTINGS.model_copy(update={"follow": 0.2}), behaviour.catalogue)
    expected, variance, hits = _top(other, turns, 10)
    assert abs(hits - expected) > 9 * np.sqrt(variance)


def _top(behaviour: Behaviour, turns: list[Turn], k: int) -> tuple[float, float, float]:
    expected = variance = hits = 0.0
    for turn in turns[1:]:
        probability: Floats = behaviour.next_item(turn.situation)
        slate = np.argsort(-probability, axis=1)[:, :k]
        mass = np.take_along_axis(probability, slate, axis=1).sum(axis=1)
        expected, variance = expected + float(mass.sum()), variance + float((mass * (1 - mass)).sum())
        hits += float(np.sum(slate == turn.item[:, None]))
    return expected, variance, hits


def test_carts_follow_looks_and_purchases_follow_carts(walked: tuple[Behaviour, list[Turn]]) -> None:
    for turn in walked[1][1:]:
        now = turn.situation
        further = turn.action != Action.browse
        np.testing.assert_array_equal(turn.item[further], now.last[further])
        np.testing.assert_array_equal(turn.action[further], now.action[further] + 1)
        assert not np.any(turn.opens & further)


def test_shares_are_as_set(walked: tuple[Behaviour, list[Turn]]) -> None:
    turns = walked[1][1:]
    opens = np.concatenate([turn.opens for turn in turns])
    looks = np.concatenate([~turn.opens & (turn.situation.action == Action.browse) for turn in turns])
    carts = np.concatenate([turn.action == Action.cart for turn in turns])
    assert opens.mean() == pytest.approx(0.25, abs=4.5 * (0.25 * 0.75 / len(opens)) ** 0.5)
    assert carts[looks].mean() == pytest.approx(0.15, abs=4.5 * (0.15 * 0.85 / looks.sum()) ** 0.5)


def test_tastes_drift(walked: tuple[Behaviour, list[Turn]]) -> None:
    first, later = walked[1][0].situation.taste, walked[1][-1].situation.taste
    moved = np.abs(first[: len(later)] - later).sum(axis=1)
    assert np.all(moved > 0.05)
    np.testing.assert_allclose(later.sum(axis=1), 1)


def test_catalogue_is_untouched_by_the_walk(walked: tuple[Behaviour, list[Turn]]) -> None:
    catalogue: ShopCatalogue = make_catalogue(SETTINGS, streams(SETTINGS.seed)[0])
    np.testing.assert_array_equal(walked[0].catalogue.alternatives, catalogue.alternatives)


@pytest.mark.parametrize(
    "habits", [{"resume": 1.0}, {"follow": 0.0, "return_to": 1.0}, {"follow": 1.0, "return_to": 0.0}]
)
def test_habits_at_their_ends_leave_somewhere_to_go(habits: dict[str, float]) -> None:
    log = simulate_shop(ShopSettings(users=60, items=96, **habits))
    first = log.item[np.unique(log.user, return_index=True)[1]]
    assert len(np.unique(first)) > 10  # and not all the same item, as a draw from nothing gives
