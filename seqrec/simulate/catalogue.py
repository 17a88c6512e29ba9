"""What a simulated shop sells: titles, prices, what follows what, and popularity that moves with the calendar."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from seqrec.simulate.settings import ShopSettings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SUCCESSOR_SHARES = np.array([0.4, 0.25, 0.15, 0.12, 0.08])
"""How often each of an item's successors follows it, the likeliest first."""

ZIPF_EXPONENT = 0.7
DEMAND_EXPONENT = 0.5
LAUNCHED_LATER = 0.2
NOVELTY_BOOST, NOVELTY_DAYS = 2.0, 10.0
SEASON_STRENGTH, SEASON_DAYS = 0.6, (60.0, 180.0)


@dataclass(frozen=True)
class ShopCatalogue:
    """N items in C categories; here an item is a row 0..N-1, in the log it has its `item_id`.

    Attributes:
        item_ids: N ids.
        titles: N titles, all different.
        categories: C names.
        category: int64 (N,) in 0..C-1.
        price: float64 (N,), two decimals.
        launch_day: float64 (N,); 0 for items that are there from the start.
        popularity: float64 (N,), long-run weight inside the category.
        season: float64 (2, N), period in days and phase in radians of an item's popularity.
        alternatives: int64 (N, S), what is looked at after an item was looked at: likeliest first, of its own category.
        complements: int64 (N, S), what is looked at after an item was bought: of the category that goes with its own.
        demand: float64 (C,), the categories' shares in the tastes of all users together.
    """

    item_ids: list[str]
    titles: list[str]
    categories: list[str]
    category: Ints
    price: Floats
    launch_day: Floats
    popularity: Floats
    season: Floats
    alternatives: Ints
    complements: Ints
    demand: Floats

    def shelf(self, days: int) -> Floats:
        """Share of each item in the interest in its category, for each of the first days.

        Returns:
            float64 (days, N); 0 before an item's launch, and the rows sum to 1 over each category.
        """
        day = np.arange(days, dtype=np.float64)[:, None]
        age = day - self.launch_day
        period, phase = self.season
        weight = self.popularity * np.exp(SEASON_STRENGTH * np.sin(2 * np.pi * day / period + phase))
        novelty = np.where(self.launch_day > 0, NOVELTY_BOOST * np.exp(-np.maximum(age, 0) / NOVELTY_DAYS), 0)
        weight = np.where(age >= 0, weight * (1 + novelty), 0)
        members = np.eye(len(self.categories))[self.category]  # (N, C)
        return weight / (weight @ members)[:, self.category]


def make_catalogue(settings: ShopSettings, rng: np.random.Generator) -> ShopCatalogue:
    """Draws a catalogue: the same for the same settings and state of ``rng``."""
    n, c = settings.items, settings.categories
    words = json.loads(resources.files("seqrec.simulate").joinpath("words.json").read_text(encoding="utf-8"))
    kinds = words["categories"][:c]
    category = rng.permutation(np.arange(n) % c)
    names = [kind["name"] for kind in kinds]
    # a category whose complement is not sold goes with the next one instead
    partner = [names.index(k["goes_with"]) if k["goes_with"] in names else (i + 1) % c for i, k in enumerate(kinds)]
    popularity: Floats = np.power(1.0 + rng.permutation(n), -ZIPF_EXPONENT)
    demand: Floats = np.power(1.0 + np.arange(c), -DEMAND_EXPONENT)
    base_price = np.array([kind["price"] for kind in kinds], dtype=np.float64)[category]
    return ShopCatalogue(
        item_ids=[f"sku-{code:05d}" for code in rng.choice(100_000, size=n, replace=False)],
        titles=_titles(words, category, rng),
        categories=names,
        category=category,
        price=np.round(base_price * np.exp(0.4 * rng.standard_normal(n)), 2),
        launch_day=_launch_days(category, settings.days, rng),
        popularity=popularity,
        season=np.stack([rng.uniform(*SEASON_DAYS, size=n), rng.uniform(0, 2 * np.pi, size=n)]),
        alternatives=_successors(category, category, popularity, rng),
        complements=_successors(category, np.array(partner)[category], popularity, rng),
        demand=rng.permutation(demand / demand.sum()),
    )


def _titles(words: dict[str, Any], category: Ints, rng: np.random.Generator) -> list[str]:
    """``Brand Adjective Noun, colour``: drawn without replacement in each category."""
    titles = [""] * len(category)
    for c in range(int(category.max()) + 1):
        parts = (words["brands"], words["adjectives"], words["categories"][c]["nouns"], words["colours"])
        members = np.flatnonzero(category == c)
        shape = tuple(len(part) for part in parts)
        combinations = rng.choice(int(np.prod(shape)), size=len(members), replace=False)
        for item, choice in zip(members, zip(*np.unravel_index(combinations, shape), strict=True), strict=True):
            brand, adjective, noun, colour = (part[i] for part, i in zip(parts, choice, strict=True))
            titles[item] = f"{brand} {adjective} {noun}, {colour}"
    return titles


def _launch_days(category: Ints, days: int, rng: np.random.Generator) -> Floats:
    """0 for most items, a later day for the others; each category keeps something to sell on day 0."""
    launch = np.where(rng.random(len(category)) < LAUNCHED_LATER, rng.uniform(0, days, size=len(category)), 0.0)
    launch[np.unique(category, return_index=True)[1]] = 0.0
    return launch


def _successors(category: Ints, wanted: Ints, popularity: Floats, rng: np.random.Generator) -> Ints:
    """For each item S others of the wanted category, drawn without replacement in proportion to sqrt(popularity).

    The square root keeps the structure from being popularity once more. The draw is Gumbel's: the S largest of
    log weight plus Gumbel noise (Efraimidis and Spirakis 2006, in its exponential form).
    """
    n = len(category)
    keys = 0.5 * np.log(popularity) + rng.gumbel(size=(n, n))
    keys[wanted[:, None] != category] = -np.inf
    np.fill_diagonal(keys, -np.inf)
    return np.argsort(-keys, axis=1, kind="stable")[:, : len(SUCCESSOR_SHARES)]
