"""Recommends to everybody what most events were about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from seqrec.evaluation.metrics import Ints
from seqrec.ranking.scorers import ItemLists
from seqrec.store import Sequences


@dataclass(frozen=True)
class Popular:
    """Scores an item by its training events. Items of equal count tie, and ties count against the target.

    Attributes:
        counts: int64 (N,), row r for item r + 1.
    """

    counts: Ints

    @classmethod
    def fit(cls, sequences: Iterable[Sequences], n_items: int) -> Self:
        """Counts events.

        Args:
            sequences: the training events of all users, in any number of parts.
            n_items: items of the catalogue, N.
        """
        counts = np.zeros(n_items, dtype=np.int64)
        for part in sequences:
            counts += np.bincount(part.items, minlength=n_items + 1)[1:]
        return cls(counts)

    def scorer(self, histories: ItemLists) -> PopularScorer:
        """Scores for as many users as there are histories; what is in them does not matter."""
        return PopularScorer(len(histories.offsets) - 1, torch.from_numpy(self.counts).float())


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
