"""What a user of a simulated shop looks at next: the conditional distributions of the process, and the walk along them.

The formulas and their symbols are in `seqrec.simulate.shop`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Self

import numpy as np
import numpy.typing as npt

from seqrec.simulate.catalogue import SUCCESSOR_SHARES, Floats, Ints, ShopCatalogue
from seqrec.simulate.settings import ShopSettings

Bools = npt.NDArray[np.bool_]

NONE = -1
"""Stands for the item before a user's first event."""

DAY = 86_400
WITHIN_SESSION_SECONDS = 90.0
BETWEEN_SESSIONS_SECONDS = 6 * 3_600
TASTE_CONCENTRATION = 0.25


class Action(IntEnum):
    """What a user does with an item."""

    browse = 0
    cart = 1
    purchase = 2


@dataclass(frozen=True)
class Population:
    """U users, by falling number of events, so that those who are still active are always the first ones.

    Attributes:
        n_events: int64 (U,), falling.
        arrival: float64 (U,), seconds from the start of the log to the first event.
        visit_seconds: float64 (U,), mean time between sessions.
        taste: float64 (U, C), shares of the categories, as at the first event.
    """

    n_events: Ints
    arrival: Floats
    visit_seconds: Floats
    taste: Floats


@dataclass(frozen=True)
class Situation:
    """All that decides the next items of B users, but for whether the event opens a session.

    Attributes:
        last: int64 (B,), the item of the last event, or NONE.
        before: int64 (B,), the latest item other than `last`, or NONE.
        action: int64 (B,), the last action.
        intent: int64 (B,), the category that opened the session.
        shelf: float64 (B, N), the shelf on the day the session began.
        next_shelf: float64 (B, N), the shelf on the day on which a session would begin now.
        taste: float64 (B, C), the taste in this session.
        next_taste: float64 (B, C), the taste with which a session would begin now.
        seen: bool (B, N), the items of the user's events so far.
    """

    last: Ints
    before: Ints
    action: Ints
    intent: Ints
    shelf: Floats
    next_shelf: Floats
    taste: Floats
    next_taste: Floats
    seen: Bools

    def take(self, rows: Ints | Bools) -> Self:
        """The situations of some of the users."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class Turn:
    """The events at one position 0..max-1 of all users who have that many: the first B of the population.

    Attributes:
        position: the position in each user's sequence.
        situation: before the event.
        opens: bool (B,), whether the event opens a session.
        item: int64 (B,).
        action: int64 (B,).
        seconds: int64 (B,), since the start of the log.
        session: int64 (B,), 0 for a user's first.
    """

    position: int
    situation: Situation
    opens: Bools
    item: Ints
    action: Ints
    seconds: Ints
    session: Ints


class Behaviour:
    """The process: `stay`, `move`, `open` and `next_item` are its conditional distributions, `walk` draws from them."""

    def __init__(self, settings: ShopSettings, catalogue: ShopCatalogue):
        self.settings = settings
        self.catalogue = catalogue

    def stay(self, now: Situation) -> Floats:
        """Probability (B,) that a session goes on with the same item: look → cart → purchase."""
        after = np.array([self.settings.cart, self.settings.purchase, 0.0])
        chance: Floats = np.where(now.last == NONE, 0.0, after[now.action])
        return chance

    def move(self, now: Situation) -> Floats:
        """Probability (B, N) of each item where a session goes on with another step."""
        s, share = self.settings, 1 - self.settings.follow - self.settings.return_to
        interest = share * (1 - s.persist) * now.taste
        interest[np.arange(len(interest)), now.intent] += share * s.persist
        mass = now.shelf * interest[:, self.catalogue.category]
        bought = (now.action == Action.purchase)[:, None]
        following = np.where(bought, self.catalogue.complements[now.last], self.catalogue.alternatives[now.last])
        _add(mass, following, np.where(now.last == NONE, 0.0, s.follow))
        _add(mass, self.catalogue.alternatives[now.before], np.where(now.before == NONE, 0.0, s.return_to))
        return self._reachable(mass, now.shelf, now.seen)

    def open(self, now: Situation) -> Floats:
        """Probability (B, N) of each item where a session begins."""
        resume = np.where(now.last == NONE, 0.0, self.settings.resume)
        mass = now.next_shelf * ((1 - resume)[:, None] * now.next_taste)[:, self.catalogue.category]
        _add(mass, self.catalogue.alternatives[now.last], resume)
        return self._reachable(mass, now.next_shelf, now.seen)

    def next_item(self, now: Situation) -> Floats:
        """Probability (B, N) of each item, where it is not known whether the event opens a session."""
        stay = self.stay(now)
        within = (1 - stay)[:, None] * self.move(now)
        within[np.arange(len(stay)), now.last] += stay
        opens = np.where(now.last == NONE, 1.0, self.settings.new_session)[:, None]
        return opens * self.open(now) + (1 - opens) * within

    def _reachable(self, mass: Floats, shelf: Floats, seen: Bools) -> Floats:
        allowed = np.where(seen, self.settings.revisit, 1.0)
        mass *= allowed * (shelf > 0)
        nowhere = mass.sum(axis=1) == 0  # as where all moves follow an item, and none of its successors is there yet
        mass[nowhere] = (allowed * shelf)[nowhere]
        mass /= mass.sum(axis=1, keepdims=True)
        return mass

    def walk(self, population: Population, rng: np.random.Generator) -> Iterator[Turn]:
        """Draws all events, a position at a time for all users at once."""
        users, n = len(population.n_events), len(self.catalogue.item_ids)
        last, before = np.full(users, NONE), np.full(users, NONE)
        action, intent, session = np.zeros(users, np.int64), np.zeros(users, np.int64), np.full(users, -1)
        seconds = population.arrival.copy()
        day = (seconds // DAY).astype(np.int64)
        taste, seen = population.taste.copy(), np.zeros((users, n), dtype=bool)
        shelves = _Shelves(self.catalogue)
        for position in range(int(population.n_events[0])):
            b = int(np.searchsorted(-population.n_events, -position, side="left"))
            opens = (rng.random(b) < self.settings.new_session) | (position == 0)
            next_taste = self._drifted(taste[:b], rng)
            gap = BETWEEN_SESSIONS_SECONDS + population.visit_seconds[:b] * rng.standard_exponential(b)
            next_seconds = seconds[:b] + (gap if position else 0.0)
            next_day = (next_seconds // DAY).astype(np.int64)
            now = Situation(
                last[:b].copy(), before[:b].copy(), action[:b].copy(), intent[:b].copy(),
                shelves[day[:b]], shelves[next_day], taste[:b].copy(), next_taste, seen[:b].copy(),
            )  # fmt: skip
            item, did = self._draw(now, opens, rng)
            pause = 1.0 + WITHIN_SESSION_SECONDS * rng.standard_exponential(b)
            seconds[:b] = np.floor(np.where(opens, next_seconds, seconds[:b] + pause))
            session[:b] += opens
            yield Turn(position, now, opens, item, did, seconds[:b].astype(np.int64), session[:b].copy())
            before[:b] = np.where(item == now.last, now.before, now.last)
            last[:b], action[:b] = item, did
            intent[:b] = np.where(opens, self.catalogue.category[item], now.intent)
            day[:b] = np.where(opens, next_day, day[:b])
            taste[:b] = np.where(opens[:, None], next_taste, now.taste)
            seen[np.arange(b), item] = True

    def _draw(self, now: Situation, opens: Bools, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Items and actions (B,), given whether each event opens a session."""
        stays = ~opens & (rng.random(len(opens)) < self.stay(now))
        chance, item = rng.random(len(opens)), now.last.copy()
        for which, distribution in ((opens, self.open), (~opens & ~stays, self.move)):
            cumulative = np.cumsum(distribution(now.take(which)), axis=1)
            wanted = chance[which] * cumulative[:, -1]  # strictly below the last sum, which rounding leaves near 1
            item[which] = np.sum(cumulative <= wanted[:, None], axis=1)
        return item, np.where(stays, now.action + 1, int(Action.browse))

    def _drifted(self, taste: Floats, rng: np.random.Generator) -> Floats:
        return (1 - self.settings.taste_drift) * taste + self.settings.taste_drift * draw_tastes(
            self.catalogue.demand, len(taste), rng
        )


class _Shelves:
    """Shelf rows by day, for as many days as have been asked for: nobody knows beforehand when the last event falls."""

    def __init__(self, catalogue: ShopCatalogue):
        self._catalogue = catalogue
        self._rows = catalogue.shelf(64)

    def __getitem__(self, days: Ints) -> Floats:
        if (wanted := int(days.max(initial=0)) + 1) > len(self._rows):
            self._rows = self._catalogue.shelf(2 * wanted)
        return self._rows[days]


def draw_population(settings: ShopSettings, catalogue: ShopCatalogue, rng: np.random.Generator) -> Population:
    """Draws the users and the tastes they come with."""
    more = rng.geometric(1 / (1 + settings.events_mean - settings.events_min), size=settings.users) - 1
    return Population(
        n_events=np.sort(settings.events_min + more)[::-1].astype(np.int64),
        arrival=np.floor(rng.uniform(0, settings.days * DAY, size=settings.users)),
        visit_seconds=settings.visit_days * DAY * np.exp(0.5 * rng.standard_normal(settings.users)),
        taste=draw_tastes(catalogue.demand, settings.users, rng),
    )


def draw_tastes(demand: Floats, users: int, rng: np.random.Generator) -> Floats:
    """Dirichlet tastes (users, C) with mean ``demand``: concentrated, a user cares for a few categories."""
    return rng.dirichlet(TASTE_CONCENTRATION * len(demand) * demand, size=users)


def _add(mass: Floats, items: Ints, share: Floats) -> None:
    """Adds each row's share to its successors (B, S); an item occurs once in a row, so that `+=` adds each."""
    mass[np.arange(len(mass))[:, None], items] += share[:, None] * SUCCESSOR_SHARES
