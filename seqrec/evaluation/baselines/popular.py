"""Recommends to everybody what most events were about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqrec.evaluation.exact import Ints
from seqrec.ranking.scorers import ItemLists
from seqrec.store import Sequences

# stated, not tuned to a log; benchmarks/baselines.py measures others
RECENT_SHARE = 0.1


@dataclass(frozen=True)
class Popular:
    """Scores an item by its training events. Items of equal count tie, and ties count against the target.

    Attributes:
        counts: int64 (N,), row r for item r + 1; or other numbers that order items.
    """

    counts: Ints

    @classmethod
    def fit(cls, sequences: Iterable[Sequences], n_items: int) -> Self:
        """Counts events.

        Args:
            sequences: the training events of all users, in any number of parts.
            n_items: items of the catalogue, N.
        """
        return cls.of_events((part.items for part in sequences), n_items)

    @classmethod
    def of_events(cls, events: Iterable[npt.NDArray[np.int32]], n_items: int) -> Self:
        """Counts the items of events, in any number of parts."""
        counts = np.zeros(n_items, dtype=np.int64)
        for items in events:
            counts += np.bincount(items, minlength=n_items + 1)[1:]
        return cls(counts)

    def scorer(self, histories: ItemLists, rows: Ints) -> PopularScorer:
        """As `Baseline` says; who the users are does not matter."""
        # places in the common order: float32 would not tell large counts apart
        places = np.unique(self.counts, return_inverse=True)[1]
        return PopularScorer(len(rows), torch.from_numpy(places).float())


@dataclass(frozen=True)
class PopularScorer:
    """The same scores for each user, float32 (N,)."""

    n_users: int
    scores: Tensor

    @property
    def n_items(self) -> int:
        """Items of the catalogue, N."""
        return len(self.scores)

    def of_users(self, start: int, stop: int) -> PopularScorer:
        """As `Scorer` says."""
        return PopularScorer(stop - start, self.scores)

    def __call__(self, start: int, stop: int) -> Tensor:
        """Float32 (stop - start, B), as `Scorer` says."""
        return self.scores[start:stop, None].repeat(1, self.n_users)


def popular_recent(
    sequences: Callable[[], Iterable[Sequences]], n_items: int, *, share: float = RECENT_SHARE
) -> Popular:
    """Popular by the events of the latest part of the training period, and by all events where these are equal.

    Where the log has an order but no times, by the latest part of each user's events, at least one.

    Args:
        sequences: gives the training events of all users, each time anew.
        n_items: items of the catalogue, N.
        share: of the time from the first training event to the last, or of a user's events; above 0, at most 1.
    """
    first, last = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    for part in sequences():
        if part.timestamps is not None:
            first = min(first, int(part.timestamps.min(initial=first)))
            last = max(last, int(part.timestamps.max(initial=last)))
    start = last - round(share * max(0, last - first))
    recent = Popular.of_events((_latest(part, start, share) for part in sequences()), n_items).counts
    always = Popular.fit(sequences(), n_items).counts
    return Popular(recent * (always.max(initial=0) + 1) + always)


def _latest(part: Sequences, start_us: int, share: float) -> npt.NDArray[np.int32]:
    """The items of the events from ``start_us`` on, or without times of the last events of each user."""
    if part.timestamps is not None:
        return part.items[part.timestamps >= start_us]
    kept = np.ceil(part.lengths * share).astype(np.int64)
    place = np.arange(len(part.items)) - np.repeat(part.offsets[:-1], part.lengths)
    return part.items[place >= np.repeat(part.lengths - kept, part.lengths)]
