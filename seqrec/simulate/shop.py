"""Behaviour of a made-up shop's users, from a process that is known to the last probability.

**Catalogue.** N items lie in C categories. An item has a weight ∝ rank^-0.7, a season (its weight rises and falls
with a period of 60 to 180 days), for one item in five a launch day with a boost that fades, S = 5 *alternatives* in
its own category and S *complements* in the category that goes with it, with shares (.40, .25, .15, .12, .08). The
*shelf* h_t(j) is j's share, on day t, of the interest in its category: Σ_{j in c} h_t(j) = 1, and 0 before its
launch.

**User.** n ~ 6 + Geometric events, first one at a uniform time, tastes θ ~ Dirichlet(C/4 · demand) over categories.
None of these depends on what is looked at, so that being somebody's last event says nothing about the item.

**Event.** Let x be the last item, y the latest item before it that differs, A(x, ·) the shares of x's alternatives,
A'(x, ·) those of its complements if x has just been purchased and of its alternatives if not, c the category that
opened the session. With probability s the event opens a new session, after six hours and an exponential gap, with
tastes θ' = (1 - d) θ + d ε, ε ~ Dirichlet(C/4 · demand), and on the day t' that the gap leads to:

    open(j)  ∝ v(j) [ w A(x, j) + (1 - w) θ'(cat j) h_t'(j) ]

Otherwise the session goes on. With probability b after a look, p after a cart and 0 after a purchase, the same
item's next action follows (look → cart → purchase); else a look at

    move(j)  ∝ v(j) [ f A'(x, j) + r A(y, j) + (1 - f - r) ( k 1[cat j = c] + (1 - k) θ(cat j) ) h_t(j) ]

where v(j) is 0 for what is not launched yet, `revisit` for items that the user has seen, and 1 for all others; t is
the day on which the session began. Where that leaves nothing, as where all moves follow and nothing that follows is
launched, it is v(j) h_t(j). A user's first event opens a session, with w = 0.

**Oracle.** Let I be the history together with θ, θ', t, t' and c. Whether the event opens a session is drawn
independently of I, hence

    P(j | I) = s open(j) + (1 - s) [ stay 1[j = x] + (1 - stay) move(j) ],   stay = b, p or 0

and this is what the oracle ranks by. Any slate of k items that a recommender draws up from I, or from less than I
(the history alone, say, and whatever parameters it has learnt from other users' events), is hit with probability
Σ_{j in slate} P(j | I), which no slate makes larger than the k likeliest items do. So the oracle's HR@k is, in
expectation, the upper bound of every recommender's; the same holds slot by slot for NDCG and MRR, whose gains fall
with rank. Under the policy `filter` the argument is the same for P(j | I, j unseen) ∝ P(j | I), over users whose
target is unseen. The bound is not tight: no model is told θ, θ' and t'. It holds in expectation: on a finite log, a
model nearly as good as the oracle may come out ahead by chance. And it holds for the whole catalogue: a store that
drops rare items or users has other targets.

One event in six repeats an earlier item (carts, purchases, second looks). The log suits both policies, and the
oracle is ranked for both; the demo takes `allow`.

**Determinism.** All draws come from `numpy.random.Philox` streams spawned from one seed: one for the catalogue, one
for the users, one for their events and one for the malformed rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqrec.simulate.behaviour import Behaviour, Bools, Turn, draw_population
from seqrec.simulate.catalogue import Ints, ShopCatalogue, make_catalogue
from seqrec.simulate.oracle import OracleRanks, OracleSplit, rank_targets
from seqrec.simulate.settings import ShopSettings

LEFT_FOR = {"valid": 1, "test": 0}
"""Events of a user after the target: leave-one-out tests on the last event and validates on the one before it."""


@dataclass(frozen=True)
class ShopLog:
    """E events of U users, in time order as a shop would log them.

    Attributes:
        settings: what was simulated.
        catalogue: the items, with titles, categories and prices.
        user_ids: U ids.
        user: int64 (E,), row in `user_ids`.
        item: int64 (E,), row in the catalogue.
        seconds: int64 (E,), since the start of the log; strictly rising for each user.
        action: int64 (E,), an `Action`.
        session: int64 (E,), counted for each user, from 0.
        oracle: for each split the ranks of all users' targets, in the order of `user_ids`.
    """

    settings: ShopSettings
    catalogue: ShopCatalogue
    user_ids: list[str]
    user: Ints
    item: Ints
    seconds: Ints
    action: Ints
    session: Ints
    oracle: dict[OracleSplit, OracleRanks]

    def __len__(self) -> int:
        return len(self.item)


def streams(seed: int) -> list[np.random.Generator]:
    """Independent generators for the catalogue, the users, their events and the malformed rows."""
    return [np.random.Generator(np.random.Philox(child)) for child in np.random.SeedSequence(seed).spawn(4)]


def simulate_shop(settings: ShopSettings | None = None) -> ShopLog:
    """Simulates a shop; equal settings give equal logs. The defaults take a few seconds and about 300 MB."""
    settings = settings or ShopSettings()
    catalogue_rng, user_rng, event_rng, _ = streams(settings.seed)
    catalogue = make_catalogue(settings, catalogue_rng)
    population = draw_population(settings, catalogue, user_rng)
    behaviour = Behaviour(settings, catalogue)
    ranks = {split: np.zeros((3, settings.users), dtype=np.int64) for split in LEFT_FOR}
    turns = []
    for turn in behaviour.walk(population, event_rng):
        for split, left in LEFT_FOR.items():
            _rank(behaviour, turn, population.n_events == turn.position + 1 + left, ranks[split])
        turns.append((turn.item, turn.seconds, turn.action, turn.session))
    # ids are shuffled, so that they do not tell who has many events
    names = user_rng.permutation(settings.users)
    user = np.concatenate([names[: len(item)] for item, *_ in turns])
    item, seconds, action, session = (np.concatenate(column) for column in zip(*turns, strict=True))
    order = np.lexsort((user, seconds))
    by_name = np.argsort(names)
    return ShopLog(
        settings=settings,
        catalogue=catalogue,
        user_ids=[f"u{number:05d}" for number in range(settings.users)],
        user=user[order],
        item=item[order],
        seconds=seconds[order],
        action=action[order],
        session=session[order],
        oracle={"valid": OracleRanks(*ranks["valid"][:, by_name]), "test": OracleRanks(*ranks["test"][:, by_name])},
    )


def _rank(behaviour: Behaviour, turn: Turn, due: Bools, ranks: Ints) -> None:
    """Fills the columns of `ranks` (item, allow, filter; U) of the users for whom this turn holds the target."""
    rows = np.flatnonzero(due)
    if rows.size:
        now, target = turn.situation.take(rows), turn.item[rows]
        ranks[:, rows] = (target, *rank_targets(behaviour.next_item(now), target, now.seen))
