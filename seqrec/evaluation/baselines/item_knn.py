"""Recommends the items nearest to those of the user's history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from seqrec.evaluation.baselines.interactions import binary
from seqrec.evaluation.exact import Floats, Ints
from seqrec.ranking.scorers import ItemLists
from seqrec.store import Sequences

# Best all round of a small search on the validation items of Beauty, LastFM and ML-1M; without shrinkage Beauty loses a
# fifth, and a weak baseline flatters the model
NEIGHBOURS = 50
SHRINKAGE = 20.0
_CHUNK_PAIRS = 4_000_000  # upper bound of the similarities held at once, about 32 bytes each


@dataclass(frozen=True)
class ItemKNN:
    """Item-item cosine over the binary user-item matrix, shrunk and cut to each item's nearest neighbours.

    The score of item j for a user is the sum of similarity(i, j) over the distinct items i of the history of which j
    keeps i as a neighbour. Most items score exactly 0 for most users and tie, and ties count against the target.

    Attributes:
        similarity: scipy CSC float32 (N, N); column j holds the neighbours of item j + 1, without itself.

    Source: Sarwar et al. 2001, "Item-based collaborative filtering recommendation algorithms"; columns cut and scores
        summed without normalisation as in Ferrari Dacrema et al. 2019, arXiv:1907.06902.
    """

    similarity: sparse.csc_array

    @classmethod
    def fit(
        cls, sequences: Iterable[Sequences], n_items: int, *, neighbours: int = NEIGHBOURS, shrinkage: float = SHRINKAGE
    ) -> Self:
        """Counts co-occurrence and keeps the nearest.

        Args:
            sequences: the training events of all users, in any number of parts; a user is in one part only.
            n_items: items of the catalogue, N.
            neighbours: kept for each item, >= 1; of equally near ones those of smaller index.
            shrinkage: added to the cosine's denominator, >= 0: takes weight from pairs that few users support.
        """
        parts = [binary(part.row_of_event(), part.items, len(part), n_items) for part in sequences]
        none = sparse.csr_array((0, n_items), dtype=np.float32)  # vstack refuses an empty list
        users = sparse.vstack([none, *parts], "csr")
        norms = np.sqrt(users.sum(axis=0, dtype=np.float64))
        columns = [_nearest(users, norms, start, stop, neighbours, shrinkage) for start, stop in _chunks(users)]
        return cls(sparse.hstack(columns, "csc"))

    def scorer(self, histories: ItemLists, rows: Ints) -> ItemKNNScorer:
        """As `Baseline` says."""
        offsets, items = histories.offsets.cpu().numpy(), histories.items.cpu().numpy()
        users = np.repeat(np.arange(len(rows)), np.diff(offsets))
        return ItemKNNScorer(binary(users, items, len(rows), self.similarity.shape[0]), self.similarity)


@dataclass(frozen=True)
class ItemKNNScorer:
    """Histories float32 (B, N), binary, times similarity float32 (N, N)."""

    histories: sparse.csr_array
    similarity: sparse.csc_array

    @property
    def n_users(self) -> int:
        """Users of the batch, B."""
        return int(self.histories.shape[0])

    @property
    def n_items(self) -> int:
        """Items of the catalogue, N."""
        return int(self.similarity.shape[1])

    def of_users(self, start: int, stop: int) -> ItemKNNScorer:
        """As `Scorer` says."""
        return ItemKNNScorer(self.histories[start:stop], self.similarity)

    def __call__(self, start: int, stop: int) -> Tensor:
        """Float32 (stop - start, B) on the CPU, as `Scorer` says."""
        # a sparse product adds along the history's items in order, so no score depends on the block
        return torch.from_numpy((self.histories @ self.similarity[:, start:stop]).toarray(order="F").T)


def _chunks(users: sparse.csr_array) -> Iterator[tuple[int, int]]:
    """Ranges of items whose co-occurrences number at most ``_CHUNK_PAIRS``, or of one item."""
    n_items = users.shape[1]
    # item i co-occurs with at most as many items as its users have events
    ends = np.cumsum(np.minimum(users.T @ users.sum(axis=1, dtype=np.float64), n_items))
    start = 0
    while start < n_items:
        done = ends[start - 1] if start else 0.0
        stop = max(start + 1, int(np.searchsorted(ends, done + _CHUNK_PAIRS, side="right")))
        yield start, stop
        start = stop


def _nearest(
    users: sparse.csr_array, norms: Floats, start: int, stop: int, neighbours: int, shrinkage: float
) -> sparse.csc_array:
    """float32 (N, stop - start), the similarities of the items start..stop-1, each column cut to the nearest."""
    together = (users.T @ users[:, start:stop]).tocoo()
    others = together.row != together.col + start
    row, column = together.row[others], together.col[others]
    similarity = together.data[others] / (norms[row] * norms[start + column] + shrinkage)
    order = np.lexsort((row, -similarity, column))
    row, column, similarity = row[order], column[order], similarity[order].astype(np.float32)
    first = np.searchsorted(column, np.arange(stop - start))  # each column's first place in the order
    kept = np.arange(len(column)) - first[column] < neighbours
    return sparse.csc_array((similarity[kept], (row[kept], column[kept])), shape=(len(norms), stop - start))
