"""What gives scores to be ranked, and the lists of items that go with a batch of users."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

TILE = 16_384  # items a matrix product; part of the result's last bits, so not a setting


def products(vectors: Tensor, matrix: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``vectors @ matrix`` in float32 at least, also under autocast: rounded to 8 bits, near scores would tie.

    Args:
        vectors: float (..., D).
        matrix: float (D, N).
        out: (..., N), where to put it, or None.
    """
    kind = torch.promote_types(_wide(vectors), _wide(matrix))
    with torch.autocast(vectors.device.type, enabled=False):
        return torch.matmul(vectors.to(kind), matrix.to(kind), out=out)


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


class ItemLists(NamedTuple):
    """Items of B users as compressed sparse rows: those of user b are ``items[offsets[b]:offsets[b + 1]]``.

    Attributes:
        offsets: int64 (B + 1,), starting at 0.
        items: int64 (total,), 1..N, in any order, repeats allowed.
    """

    offsets: Tensor
    items: Tensor

    def rows(self) -> Tensor:
        """int64 (total,), for each item the position 0..B-1 of its user."""
        return torch.repeat_interleave(self.offsets.diff())

    def of_users(self, start: int, stop: int) -> ItemLists:
        """The lists of the users ``start .. stop - 1``."""
        offsets = self.offsets[start : stop + 1]
        first, last = offsets[[0, -1]].tolist()
        return ItemLists(offsets - first, self.items[first:last])


class Scorer(Protocol):
    """Scores of every item for B users, made a block of items at a time.

    Blocks count catalogue rows from 0, items from 1: ``scorer(start, stop)`` scores the items start + 1 .. stop.
    """

    @property
    def n_users(self) -> int:
        """Users of the batch, B."""
        ...

    @property
    def n_items(self) -> int:
        """Items of the catalogue, N."""
        ...

    def of_users(self, start: int, stop: int) -> Scorer:
        """The scorer of the users ``start .. stop - 1`` alone, with 0 <= start <= stop <= B."""
        ...

    def __call__(self, start: int, stop: int) -> Tensor:
        """Scores the items ``start + 1 .. stop``, with 0 <= start < stop <= N.

        A score must not depend on the block that asks for it. ``-inf`` says that an item is never to be recommended.

        Returns:
            float32 (stop - start, B), contiguous and fresh: the caller may overwrite it. Items come first, so that a
            maximum over neighbouring items is taken for many users at once.
        """
        ...


@dataclass(frozen=True)
class DotScorer:
    """Scores an item by its inner product with the user vector, as `products` makes it.

    A matrix product's last bits depend on its shape. So the product is always made over the same tiles of the
    catalogue, whatever block is asked for: the same users in the same batch get the same scores at any chunk size.
    (Another batch may change last bits; hence evaluation batches that do not depend on the world size. Two items with
    equal vectors may likewise differ in the last bit, and then do not tie.)

    Attributes:
        user_vectors: float (B, D).
        item_vectors: float (N, D), row r for item r + 1: the table without padding and without a mask token.
    """

    user_vectors: Tensor
    item_vectors: Tensor

    @property
    def n_users(self) -> int:
        """Users of the batch, B."""
        return len(self.user_vectors)

    @property
    def n_items(self) -> int:
        """Items of the catalogue, N."""
        return len(self.item_vectors)

    def of_users(self, start: int, stop: int) -> DotScorer:
        """As `Scorer` says."""
        return replace(self, user_vectors=self.user_vectors[start:stop])

    def __call__(self, start: int, stop: int) -> Tensor:
        """Float32 (stop - start, B), as `Scorer` says."""
        first, last = start // TILE * TILE, min(-(-stop // TILE) * TILE, self.n_items)
        users = self.user_vectors.to(_wide(self.item_vectors))
        scores = users.new_empty(last - first, self.n_users)
        for at in range(first, last, TILE):
            tile = slice(at, min(at + TILE, last))
            # into its place: putting tiles together would cost as much as a tenth of the products
            products(self.item_vectors[tile], users.T, out=scores[tile.start - first : tile.stop - first])
        return scores[start - first : stop - first].float()


@dataclass(frozen=True)
class KnownScores:
    """Scores that were made at once, by a model that has no vectors to make them from.

    Attributes:
        scores: float (B, N).
    """

    scores: Tensor

    @property
    def n_users(self) -> int:
        """Users of the batch, B."""
        return len(self.scores)

    @property
    def n_items(self) -> int:
        """Items of the catalogue, N."""
        return self.scores.shape[1]

    def of_users(self, start: int, stop: int) -> KnownScores:
        """As `Scorer` says."""
        return KnownScores(self.scores[start:stop])

    def __call__(self, start: int, stop: int) -> Tensor:
        """Float32 (stop - start, B), as `Scorer` says."""
        return self.scores[:, start:stop].T.float().clone(memory_format=torch.contiguous_format)
