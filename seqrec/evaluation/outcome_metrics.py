"""How good probabilities are: whether they order events, and whether they are what they say.

All are made from whole events at once, in the order of the store, so that the number of ranks changes no digit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqrec.errors import MetricError
from seqrec.evaluation.bootstrap import LEVELS
from seqrec.evaluation.exact import Floats, Ints
from seqrec.evaluation.results import MetricValue

Bool = npt.NDArray[np.bool_]
BINS = 10  # of equal width, as reliability diagrams have
REPLICATES = 200  # each goes once over all events
_LEAST = 1e-7  # a probability of 0 that comes about would cost without end


@dataclass(frozen=True)
class Predictions:
    """Events with what was predicted of one outcome.

    Attributes:
        users: int64 (n,), store rows, in any order.
        probabilities: float64 (n,), 0..1.
        positive: bool (n,), whether it came about.
    """

    users: Ints
    probabilities: Floats
    positive: Bool


class ReliabilityBin(NamedTuple):
    """Events of like probability: what was predicted of them, and what came.

    Attributes:
        low, high: the probabilities in it, of which the higher bound belongs to the next bin.
        events: how many.
        predicted: their mean probability.
        observed: the share that came about.
    """

    low: float
    high: float
    events: int
    predicted: float
    observed: float


def outcome_metrics(found: Predictions, *, replicates: int = REPLICATES, seed: int = 0) -> dict[str, MetricValue]:
    """AUC, mean AUC of a user, log loss and expected calibration error, with 95 % intervals over users.

    `auc` is the probability that an event that came about scores above one that did not; ties count a half.
    `user_auc` is its mean over users who have both; NaN where nobody has. `log_loss` is in nats. `ece` is the mean over
    events of the distance between what was predicted and observed in their bin, of ten as wide (Naeini et al. 2015).
    Intervals are percentiles of bootstrap resamples of users.

    Args:
        found: at least one event.
        replicates: resamples.
        seed: of the resampling.
    Raises:
        MetricError: no event, one class only, or a probability is NaN.
    """
    _check(found)
    users, user = np.unique(found.users, return_inverse=True)
    of_all, of_users = _Ordered.of(found.probabilities), _user_aucs(found, user, len(users))
    bins = _bins(found.probabilities)
    clipped = found.probabilities.clip(_LEAST, 1 - _LEAST)
    losses = -np.log(np.where(found.positive, clipped, 1 - clipped))
    has_both = ~np.isnan(of_users)

    def measure(times: Ints) -> dict[str, float]:
        """The metrics where each user counts so many times."""
        weights = times[user].astype(np.float64)
        both = times[has_both].astype(np.float64)
        error = np.abs(np.bincount(bins, weights * (found.positive - found.probabilities), minlength=BINS)).sum()
        return {
            "auc": of_all.auc(weights, found.positive),
            "user_auc": float(of_users[has_both] @ both / both.sum()) if both.sum() else float("nan"),
            "log_loss": float(losses @ weights / weights.sum()),
            "ece": float(error / weights.sum()),
        }

    return _with_intervals(measure, len(users), replicates, seed)


def reliability(found: Predictions) -> list[ReliabilityBin]:
    """The bins that hold events, from the lowest probabilities on."""
    bins = _bins(found.probabilities)
    events = np.bincount(bins, minlength=BINS)
    predicted, observed = (np.bincount(bins, v, minlength=BINS) for v in (found.probabilities, found.positive))
    return [
        ReliabilityBin(b / BINS, (b + 1) / BINS, int(events[b]), predicted[b] / events[b], observed[b] / events[b])
        for b in np.flatnonzero(events).tolist()
    ]


class _Ordered(NamedTuple):
    """Events by the place of their probability among all different ones."""

    places: Ints
    n_places: int

    @classmethod
    def of(cls, probabilities: Floats) -> _Ordered:
        different, places = np.unique(probabilities, return_inverse=True)
        return cls(places, len(different))

    def auc(self, weights: Floats, positive: Bool) -> float:
        won = np.bincount(self.places, weights * positive, minlength=self.n_places)
        lost = np.bincount(self.places, weights * ~positive, minlength=self.n_places)
        below = np.cumsum(lost) - lost / 2
        pairs = won.sum() * lost.sum()
        return float(won @ below / pairs) if pairs else float("nan")


def _user_aucs(found: Predictions, user: Ints, n_users: int) -> Floats:
    """float64 (users,), each one's AUC by the mean rank of positives (Mann and Whitney); NaN without both classes."""
    order = np.lexsort((found.probabilities, user))
    user, value, positive = user[order], found.probabilities[order], found.positive[order]
    new = np.append(True, (np.diff(user) > 0) | (np.diff(value) > 0))
    group = np.cumsum(new) - 1
    size = np.bincount(group)
    first = np.flatnonzero(new)
    begin = np.searchsorted(user, np.arange(n_users))
    rank = (first + (size + 1) / 2)[group] - begin[user]  # from 1 within the user; that of ties is their mean
    n_positive = np.bincount(user, positive, minlength=n_users)
    n_negative = np.bincount(user, ~positive, minlength=n_users)
    ranks = np.bincount(user, rank * positive, minlength=n_users)
    with np.errstate(invalid="ignore", divide="ignore"):
        aucs: Floats = (ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)
    return np.where(n_positive * n_negative > 0, aucs, np.nan)


def _with_intervals(
    measure: Callable[[Ints], dict[str, float]], n_users: int, replicates: int, seed: int
) -> dict[str, MetricValue]:
    values = measure(np.ones(n_users, dtype=np.int64))
    rng = np.random.default_rng([seed, 0])
    drawn = [measure(rng.multinomial(n_users, np.full(n_users, 1 / n_users))) for _ in range(replicates)]
    found = {}
    for name, value in values.items():
        resampled = np.array([one[name] for one in drawn])
        low, high = np.nanquantile(resampled, LEVELS) if not np.isnan(resampled).all() else (np.nan, np.nan)
        found[name] = MetricValue(value, float(low), float(high))
    return found


def _bins(probabilities: Floats) -> Ints:
    return np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)


def _check(found: Predictions) -> None:
    if np.isnan(found.probabilities).any():
        raise MetricError.of_nan(int(np.isnan(found.probabilities).sum()), len(found.users), "probabilities")
    n_positive = int(found.positive.sum())
    if not 0 < n_positive < len(found.positive):
        raise MetricError(
            f"of {len(found.positive):,} labelled events {n_positive:,} came about: there is nothing to tell apart",
            do="see that the actions or the value are those meant, and take a window or a cut that leaves both kinds",
        )
