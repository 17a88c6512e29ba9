"""Re-ranking for diversity: lists of items that are good and unlike each other, of the best candidates of any ranker.

Both methods choose greedily, an item a place, all users of a batch at once.

- MMR, maximal marginal relevance (Carbonell and Goldstein 1998): the next item has the greatest
  λ · relevance - (1 - λ) · (its greatest similarity to an item chosen before).
- DPP, a determinantal point process (Chen et al. 2018, arXiv:1709.05135): the next item adds most to
  θ · Σ relevance + (1 - θ) · log det(similarities of the items chosen), by their incremental Cholesky factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, Self

import torch
from torch import Tensor

from seqrec.errors import RecipeError
from seqrec.ranking.similarity import Similarity
from seqrec.ranking.whole_catalogue import Ranked

CANDIDATES = 100  # of each user, or k where that is more
_LEAST_VOLUME = 1e-6  # of an item that those before it make up: below float32's round-off of a unit vector

Method = Literal["mmr", "dpp"]
By = Literal["vectors", "category"]


@dataclass(frozen=True)
class Diversity:
    """What is asked for.

    Attributes:
        method: how items are chosen.
        weight: of relevance, 0..1 (λ of MMR, θ of DPP); at 1 the ranker's own order.
        by: what makes items alike: their vectors, or their categories.
    """

    method: Method
    weight: float
    by: By = "vectors"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From METHOD:WEIGHT or METHOD:WEIGHT:BY, as `mmr:0.7` or `dpp:0.5:category`.

        Raises:
            RecipeError: it says something else.
        """
        method, _, rest = text.partition(":")
        number, _, by = rest.partition(":")
        by = by or "vectors"
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if method not in ("mmr", "dpp") or by not in ("vectors", "category") or not 0 <= weight <= 1:
            raise RecipeError(
                f"{text!r} is no way to diversify",
                do="write `mmr:WEIGHT` or `dpp:WEIGHT`, with the weight of relevance from 0 to 1, and `:category` "
                "behind it to go by categories instead of item vectors",
            )
        return cls(method, weight, by)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.method}:{self.weight:g}" + ("" if self.by == "vectors" else f":{self.by}")


@dataclass
class Diversifier:
    """Re-ranks lists.

    Attributes:
        wanted: what is asked for.
        similarity: of two items; goes to the device of the lists when they come.
    """

    wanted: Diversity
    similarity: Similarity

    def candidates(self, k: int, limit: int | None = None) -> int:
        """Length that lists must have to be re-ranked to length k, at most ``limit`` where the ranker has one."""
        return max(k, min(CANDIDATES, limit or CANDIDATES))

    @torch.no_grad()
    def __call__(self, ranked: Ranked, k: int, *, targets: Tensor | None = None) -> Ranked:
        """The best k of each list, in their new order.

        Relevance is a candidate's score, scaled to 0..1 over the candidates of its user.

        Args:
            ranked: lists of M = ``candidates(k)`` items.
            k: length of the new lists, 1..M.
            targets: int64 (B,), where lists were ranked with targets. A target's new rank is its place in the list;
                candidates of its own score are put before it first, as ties count against it.
        Returns:
            Lists of length k; beside each item the ranker's score.
        """
        items, scores = ranked.top_items, ranked.top_scores
        if targets is not None:
            assert ranked.target_rank is not None
            items, scores = _behind_equals(items, scores, ranked.target_rank, targets)
        there = items > 0
        chosen = self._choose(items, _relevance(scores, there), there, k)
        held = there.gather(1, chosen)
        top_items = items.gather(1, chosen).where(held, 0)
        top_scores = scores.gather(1, chosen).where(held, -torch.inf)
        if targets is None:
            return Ranked(None, top_items, top_scores)
        found = top_items == targets[:, None]
        return Ranked(found.int().argmax(1).where(found.any(1), k), top_items, top_scores)

    def _choose(self, items: Tensor, relevance: Tensor, there: Tensor, k: int) -> Tensor:
        """int64 (B, k), places of the chosen candidates; those that are not there come last."""
        self.similarity = self.similarity.to(items.device)
        alike = self.similarity.between(items, items)  # (B, M, M)
        state: _Choice = (_Nearest if self.wanted.method == "mmr" else _Volume).of(alike, k)
        weight, taken = self.wanted.weight, ~there
        chosen = []
        for _ in range(k):
            gain = weight * relevance + (1 - weight) * state.novelty()
            # of equal gains the first, which the ranker puts first; where all are taken, a place without an item
            best = gain.masked_fill(taken, -torch.inf).argmax(dim=1, keepdim=True)
            place = best.where(~taken.all(1, keepdim=True), (~there).int().argmax(1, keepdim=True))
            chosen.append(place)
            taken = taken.scatter(1, place, True)
            state.take(place)
        return torch.cat(chosen, dim=1)


class _Choice(Protocol):
    """What a method remembers of the items chosen."""

    @classmethod
    def of(cls, alike: Tensor, k: int) -> Self:
        """Before the first choice; similarities float32 (B, M, M)."""
        ...

    def novelty(self) -> Tensor:
        """float32 (B, M), how unlike each candidate is to what was chosen."""
        ...

    def take(self, place: Tensor) -> None:
        """Takes in the candidates chosen, int64 (B, 1)."""
        ...


class _Nearest:
    """MMR: the greatest similarity to any item chosen; 0 before the first."""

    def __init__(self, alike: Tensor):
        self._alike = alike
        self._nearest: Tensor | None = None

    @classmethod
    def of(cls, alike: Tensor, k: int) -> Self:
        return cls(alike)

    def novelty(self) -> Tensor:
        return torch.zeros_like(self._alike[:, 0]) if self._nearest is None else -self._nearest

    def take(self, place: Tensor) -> None:
        beside = _column(self._alike, place)
        self._nearest = beside if self._nearest is None else torch.maximum(self._nearest, beside)


class _Volume:
    """DPP: the logarithm of what each candidate would multiply the determinant by, from Cholesky factors.

    Algorithm 1 of the paper with its kernel Diag(exp(αr)) S Diag(exp(αr)), α = θ / (2 (1 - θ)): the determinant's
    logarithm is 2 α Σ r + log det S, here times 1 - θ, so that the factors are of S alone and θ = 1 needs no infinity.
    An item that those before it make up has no volume, and goes by relevance after those that have some.
    """

    def __init__(self, alike: Tensor, k: int):
        self._alike = alike
        # squared distance from the span of the items chosen: 1 before the first, to the last bit, so that all tie
        self._left = torch.ones_like(alike[:, 0])
        self._factors = alike.new_zeros(alike.shape[0], alike.shape[1], k)
        self._n = 0

    @classmethod
    def of(cls, alike: Tensor, k: int) -> Self:
        return cls(alike, k)

    def novelty(self) -> Tensor:
        return self._left.clamp(min=_LEAST_VOLUME).log()

    def take(self, place: Tensor) -> None:
        beside, own = _column(self._alike, place), self._left.gather(1, place)
        factors = self._factors[:, :, : self._n]
        of_chosen = factors.gather(1, place[:, :, None].expand(-1, -1, self._n))  # (B, 1, n)
        new = (beside - (factors * of_chosen).sum(2)) / own.clamp(min=_LEAST_VOLUME).sqrt()
        new = new.where(own > _LEAST_VOLUME, 0)  # nothing new is spanned, and what was left is round-off
        self._factors[:, :, self._n] = new
        self._left -= new**2
        self._n += 1


def _column(alike: Tensor, place: Tensor) -> Tensor:
    """float32 (B, M), similarities to one candidate a user."""
    return alike.gather(2, place[:, :, None].expand(-1, alike.shape[1], -1)).squeeze(2)


def _relevance(scores: Tensor, there: Tensor) -> Tensor:
    """float32 (B, M) in 0..1, linear in the score; 1 for all where they are equal."""
    high = scores.masked_fill(~there, -torch.inf).amax(1, keepdim=True)
    low = scores.masked_fill(~there, torch.inf).amin(1, keepdim=True)
    width = (high - low).clamp(min=torch.finfo(scores.dtype).tiny)
    return (1 - (high - scores) / width).where(there, 0)


def _behind_equals(items: Tensor, scores: Tensor, target_rank: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Lists with each target at its rank, behind the items of its own score; without it where its rank is beyond."""
    own, most = items == targets[:, None], items.shape[1]
    places = torch.arange(most, device=items.device, dtype=torch.float32).expand_as(scores)
    order = torch.where(own, target_rank[:, None] + 0.5, places).argsort(dim=1)
    items = items.masked_fill(own & (target_rank[:, None] >= most), 0)
    return items.gather(1, order), scores.gather(1, order)
