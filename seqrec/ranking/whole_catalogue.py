"""Ranks every item for a batch of users, a chunk of the catalogue at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from seqrec.errors import MetricError
from seqrec.ranking.best import Best, unpack
from seqrec.ranking.scorers import TILE, ItemLists, Scorer

USERS = 256  # ranked at once; part of the last bits of a matrix product, so not a setting
CHUNK_BYTES = 16 * 2**20  # scores held at once: within the last-level cache, where they are read again


class Ranked(NamedTuple):
    """What ranking found for B users.

    Attributes:
        target_rank: int64 (B,), from 0 for the best; k for a target that no list of k items holds, whatever its rank.
            None where no targets were given.
        top_items: int64 (B, k), 1..N, best first; 0 where fewer than k items are left.
        top_scores: float32 (B, k), ``-inf`` beside item 0.
    """

    target_rank: Tensor | None
    top_items: Tensor
    top_scores: Tensor


class Part(NamedTuple):
    """What ranking a part of the catalogue found for B users.

    Attributes:
        keys: int64 (B, k), or (B, k + 1) where there are targets: the best of the part, as `Best.keys`.
        target_scores: float32 (B,), ``-inf`` for a target that lies in another part; None where no targets were given.
    """

    keys: Tensor
    target_scores: Tensor | None


def rank(
    scorer: Scorer,
    *,
    k: int,
    targets: Tensor | None = None,
    seen: ItemLists | None = None,
    chunk: int | None = None,
) -> Ranked:
    """Ranks all N items for B users, up to rank k.

    Ties count against the target: its rank is the number of other allowed items whose score is not below its own.
    Among recommended items of equal score the smaller index comes first. Seen items are neither counted nor
    recommended, except the target: a target that the user has seen keeps its place. A target scored ``-inf`` is a miss.

    Each score is made once and from one formula: a target meets exactly the number that ranks it in the list. Its rank
    is read off the best k + 1 items, since fewer than k others can only be not below it if all of them are there.
    Results do not depend on ``chunk`` where scores do not depend on blocks, which a `Scorer` promises.

    Args:
        scorer: scores of the B users.
        k: length of the lists, >= 1; may exceed N.
        targets: int64 (B,), 1..N, on the scorer's device; None to recommend only.
        seen: items of each user to leave out, on the scorer's device; None to allow all.
        chunk: items scored at once, >= 1. None takes as many as ``CHUNK_BYTES`` hold for the users ranked at once.
    Raises:
        MetricError: a score is NaN.
    """
    return join([rank_part(scorer, k=k, targets=targets, seen=seen, chunk=chunk)], k=k)


@torch.no_grad()
def rank_part(
    scorer: Scorer,
    *,
    k: int,
    targets: Tensor | None = None,
    seen: ItemLists | None = None,
    chunk: int | None = None,
    first: int = 0,
) -> Part:
    """Ranks the items of a part of the catalogue; `join` makes the ranking of the parts.

    Args:
        scorer: of the part's items alone: its first one is item ``first + 1``.
        k, targets, seen, chunk: as for `rank`, of the whole catalogue.
        first: items of the catalogue before the part.
    Raises:
        MetricError: a score is NaN.
    """
    starts = range(0, max(1, scorer.n_users), USERS)
    parts = [_Block.of(scorer, start, first, targets, seen).rank(k, chunk) for start in starts]
    scores = None if targets is None else torch.cat([p.target_scores for p in parts if p.target_scores is not None])
    return Part(torch.cat([part.keys for part in parts]), scores)


def join(parts: Sequence[Part], *, k: int) -> Ranked:
    """The ranking of the whole catalogue from those of its parts, of the same users.

    Args:
        parts: which together have every item once.
        k: as they were ranked with.
    """
    targets = [part.target_scores for part in parts if part.target_scores is not None]
    kept = k + 1 if targets else k
    items, scores = unpack(torch.cat([part.keys for part in parts], dim=1).topk(kept).values)
    ranks = None
    if targets:
        own = torch.stack(targets).amax(0)
        ranks = (scores >= own[:, None]).sum(dim=1) - 1  # a target is not below itself
    return Ranked(ranks, items[:, :k], scores[:, :k])


@dataclass(frozen=True)
class _Block:
    """At most ``USERS`` users of a batch.

    Attributes:
        scorer: of these users.
        first_user: the first one's place in the batch.
        first: items of the catalogue before the scorer's.
        targets: int64 (users,), the scorer's first item being 1, or None.
        hidden_users, hidden_rows: int64 (pairs,), users 0..users-1 and rows of the scorer from 0 of what is left out,
            in any order, repeats allowed; None where nothing is.
    """

    scorer: Scorer
    first_user: int
    first: int
    targets: Tensor | None
    hidden_users: Tensor | None = None
    hidden_rows: Tensor | None = None

    @classmethod
    def of(cls, scorer: Scorer, start: int, first: int, targets: Tensor | None, seen: ItemLists | None) -> _Block:
        stop = min(start + USERS, scorer.n_users)
        part, own = scorer.of_users(start, stop), None if targets is None else targets[start:stop] - first
        if seen is None:
            return cls(part, start, first, own)
        lists = seen.of_users(start, stop)
        users, rows = lists.rows(), lists.items - 1 - first
        hidden = (rows >= 0) & (rows < scorer.n_items)
        if own is not None:
            hidden &= rows != own[users] - 1
        return cls(part, start, first, own, users[hidden], rows[hidden])

    def rank(self, k: int, chunk: int | None) -> Part:
        n_users, n_items = self.scorer.n_users, self.scorer.n_items
        step = chunk or max(TILE, CHUNK_BYTES // (4 * max(1, n_users)) // TILE * TILE)
        best: Best | None = None
        own: Tensor | None = None
        for start in range(0, n_items, step):
            scores = self.scorer(start, min(start + step, n_items))
            if best is None:
                best = Best(k if self.targets is None else k + 1, n_users, scores.device)
                own = None if self.targets is None else scores.new_full((n_users,), -torch.inf)
            if own is not None:
                self._copy_targets(own, scores, start)
            self._hide(scores, start)
            if not best.add(scores, self.first + start):
                self._refuse_nan(scores, start)
        assert best is not None  # a catalogue has items
        return Part(best.keys, own)

    def _copy_targets(self, own: Tensor, scores: Tensor, start: int) -> None:
        assert self.targets is not None
        (users,) = torch.where((self.targets > start) & (self.targets <= start + len(scores)))
        own[users] = scores[self.targets[users] - 1 - start, users]

    def _hide(self, scores: Tensor, start: int) -> None:
        """Sets what is left out to -inf."""
        if self.hidden_users is None or self.hidden_rows is None:
            return
        users, rows = self.hidden_users, self.hidden_rows - start
        if len(scores) < self.scorer.n_items:
            here = (rows >= 0) & (rows < len(scores))
            users, rows = users[here], rows[here]
        flat, places = scores.view(-1), rows * scores.shape[1] + users
        if flat[places].isnan().any():
            self._refuse_nan(scores, start)
        flat[places] = -torch.inf

    def _refuse_nan(self, scores: Tensor, start: int) -> None:
        row, user = scores.isnan().nonzero()[0].tolist()
        start += self.first
        raise MetricError.of_nan(
            int(scores.isnan().sum()),
            scores.numel(),
            "scores",
            where=f"items {start + 1}..{start + len(scores)} for {scores.shape[1]} users",
            first=f"user {self.first_user + user} of the batch (from 0), item {start + row + 1}",
        )
