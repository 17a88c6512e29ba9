"""Ranks every item for a batch of users, a chunk of the catalogue at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from seqrec.errors import MetricError
from seqrec.ranking.scorers import TILE, ItemLists, Scorer

HELD_BYTES = 64 * 2**20  # scores of a batch that are kept, rather than made twice
_MOST = 2**24  # items a chunk: float32 counts them exactly
_LOW_BITS = 0xFFFFFFFF


class Ranked(NamedTuple):
    """What ranking found for B users.

    Attributes:
        target_rank: int64 (B,), from 0 for the best; None where no targets were given.
        top_items: int64 (B, k), 1..N, best first; 0 where fewer than k items are left.
        top_scores: float32 (B, k), ``-inf`` beside item 0.
    """

    target_rank: Tensor | None
    top_items: Tensor
    top_scores: Tensor


@torch.no_grad()
def rank(
    scorer: Scorer,
    *,
    k: int,
    targets: Tensor | None = None,
    seen: ItemLists | None = None,
    chunk: int | None = None,
) -> Ranked:
    """Ranks all N items for B users.

    Ties count against the target: its rank is the number of other allowed items whose score is not below its own.
    Among recommended items of equal score the smaller index comes first. Seen items are neither counted nor
    recommended, except the target: a target that the user has seen keeps its place.

    Every score, the target's too, comes from the scorer's blocks, never from a second formula: a target meets exactly
    the number that ranks it in the list. So a block is needed twice; it is made twice where scores are not kept.
    Results do not depend on ``chunk`` where scores do not depend on blocks, which a `Scorer` promises.

    Args:
        scorer: scores of the B users.
        k: length of the lists, >= 1; may exceed N.
        targets: int64 (B,), 1..N, on the scorer's device; None to recommend only.
        seen: items of each user to leave out, on the scorer's device; None to allow all.
        chunk: items scored at once, 1..2**24, so that memory is O(B · chunk). None takes the scorer's natural tile
            and keeps all scores of the batch where they fit into ``HELD_BYTES``.
    Raises:
        MetricError: a score is NaN.
    """
    blocks = _Blocks(scorer, chunk)
    own = None if targets is None else _scores_of(targets, blocks)
    not_below = None if own is None else _NotBelow(own)
    hidden = None if seen is None else _Hidden.of(seen, targets)
    best: list[Tensor] = []
    for start, scores in blocks:
        if not_below is not None:
            not_below.add(scores)
        if hidden is not None:
            rows, columns = hidden.within(start, start + scores.shape[1])
            if not_below is not None:
                not_below.remove(rows, scores[rows, columns])
            scores[rows, columns] = -torch.inf
        keys = torch.cat([*best, _best_keys(scores, start, k)], dim=1)
        best = [keys.topk(min(k, keys.shape[1])).values]
    top_items, top_scores = _lists(best[0], k)
    # a target is not below itself
    return Ranked(None if not_below is None else not_below.counts - 1, top_items, top_scores)


class _Blocks:
    """The scorer's blocks as (start, scores), checked for NaN, as often as asked for."""

    def __init__(self, scorer: Scorer, chunk: int | None):
        self.scorer = scorer
        self.chunk = min(chunk or TILE, scorer.n_items, _MOST)
        fits = chunk is None and 4 * scorer.n_users * scorer.n_items <= HELD_BYTES
        self.held = list(self._made()) if fits else None

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        return self._made() if self.held is None else iter(self.held)

    def _made(self) -> Iterator[tuple[int, Tensor]]:
        for start in range(0, self.scorer.n_items, self.chunk):
            scores = self.scorer(start, min(start + self.chunk, self.scorer.n_items)).float()
            if scores.numel() and scores.amax().isnan():  # the maximum of anything with NaN is NaN
                _refuse_nan(scores, start)
            yield start, scores


def _refuse_nan(scores: Tensor, start: int) -> None:
    row, column = scores.isnan().nonzero()[0].tolist()
    raise MetricError(
        f"{int(scores.isnan().sum()):,} of {scores.numel():,} scores are NaN",
        where=f"items {start + 1}..{start + scores.shape[1]} for {len(scores)} users",
        first=f"user {row} of the batch (from 0), item {start + column + 1}",
        do="look for a NaN in the checkpoint's weights: training has diverged, or a precision is too low",
    )


def _scores_of(targets: Tensor, blocks: _Blocks) -> Tensor:
    """float32 (B,), each user's score of their target."""
    own = torch.empty(len(targets), dtype=torch.float32, device=targets.device)
    for start, scores in blocks:
        (rows,) = torch.where((targets > start) & (targets <= start + scores.shape[1]))
        own[rows] = scores[rows, targets[rows] - 1 - start]
    return own


class _NotBelow:
    """Counts, for each user, the allowed items that do not score below the target.

    Args:
        own: float32 (B,), the targets' scores.
    """

    def __init__(self, own: Tensor):
        self.own = own
        self.counts = torch.zeros(len(own), dtype=torch.int64, device=own.device)
        self.flags = torch.empty(0, dtype=torch.float32, device=own.device)

    def add(self, scores: Tensor) -> None:
        """Counts a block, float32 (B, width)."""
        # One buffer for all blocks, and float32 in it: torch sums that an order of magnitude faster than bool
        if self.flags.numel() < scores.numel():
            self.flags = torch.empty(scores.numel(), dtype=torch.float32, device=scores.device)
        flags = self.flags[: scores.numel()].view(scores.shape)
        self.counts += torch.ge(scores, self.own[:, None], out=flags).sum(dim=1).long()

    def remove(self, rows: Tensor, scores: Tensor) -> None:
        """Takes back single items of a block: ``scores`` float32 (n,) of the users ``rows`` int64 (n,)."""
        self.counts -= torch.bincount(rows[scores >= self.own[rows]], minlength=len(self.own))


@dataclass(frozen=True)
class _Hidden:
    """Seen (user, item) pairs, each once, sorted by item so that those of a chunk are a slice.

    Attributes:
        rows: int64 (pairs,), 0..B-1.
        columns: int64 (pairs,), 0..N-1, ascending.
    """

    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, seen: ItemLists, targets: Tensor | None) -> _Hidden:
        """The pairs of ``seen`` without a user with their own target."""
        users = max(1, len(seen.offsets) - 1)
        pairs = torch.unique((seen.items - 1) * users + seen.rows())  # sorted: by item, then by user
        rows, columns = pairs % users, pairs // users
        if targets is None:
            return cls(rows, columns)
        others = columns != targets[rows] - 1
        return cls(rows[others], columns[others])

    def within(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Users and columns, the latter counted from ``start``, of the pairs in start..stop-1."""
        bounds = torch.tensor([start, stop], device=self.columns.device)
        low, high = torch.searchsorted(self.columns, bounds).tolist()
        return self.rows[low:high], self.columns[low:high] - start


def _best_keys(scores: Tensor, start: int, k: int) -> Tensor:
    """int64 (B, min(k, width)), the keys of the best of a block, in no promised order."""
    width = scores.shape[1]
    if width <= k:
        return _keys(scores, torch.arange(start + 1, start + width + 1, device=scores.device))
    # topk picks any of those that tie for the last place: ask for one more to see where that happens
    top = scores.topk(k + 1)
    best = _keys(top.values[:, :k], start + 1 + top.indices[:, :k])
    last, next_ = top.values[:, k - 1], top.values[:, k]
    (tied,) = torch.where((last == next_) & (last > -torch.inf))
    if len(tied):
        items = torch.arange(start + 1, start + width + 1, device=scores.device)
        # an eighth at a time: keys take 8 bytes and their making twice that
        for rows in torch.split(tied, max(1, len(scores) // 8)):
            best[rows] = _keys(scores[rows], items).topk(k).values
    return best


def _keys(scores: Tensor, items: Tensor) -> Tensor:
    """int64 keys that order as (score, then smaller item first), all different where items are.

    The upper half is the float32 score as an integer of the same order (sign and magnitude to two's complement), the
    lower half counts items down.
    """
    bits = (scores + 0.0).view(torch.int32)  # -0.0 + 0.0 is 0.0: they tie
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.long() << 32) | (_LOW_BITS - items)


def _lists(keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Items int64 (B, k) and scores float32 (B, k) of sorted keys (B, at most k); item 0 where the score is -inf."""
    ordered = (keys >> 32).int()
    scores = (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(torch.float32)
    items = (_LOW_BITS - (keys & _LOW_BITS)).where(scores > -torch.inf, 0)
    short = k - keys.shape[1]
    return F.pad(items, (0, short)), F.pad(scores, (0, short), value=-torch.inf)
