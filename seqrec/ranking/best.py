"""The best k items of each user, kept while scores pass by.

`torch.topk` over a whole catalogue costs several times the matrix product that made the scores. So neighbouring items
form groups, neighbouring groups form larger ones, and only those whose greatest score could enter a list are looked
into.
"""

from __future__ import annotations

import torch
from torch import Tensor

GROUP = 16  # items, or smaller groups
_FEW = 256  # items or groups among which `torch.topk` chooses as fast as by groups
_LOW_BITS = 0xFFFFFFFF


class Best:
    """The k best items of B users by (score, then smaller item first), whatever the chunks that scores come in.

    Args:
        k: items kept, >= 1.
        n_users: B.
        device: where scores are.
    """

    def __init__(self, k: int, n_users: int, device: torch.device):
        self._k = k
        nothing = torch.full((n_users, k), -torch.inf, dtype=torch.float32, device=device)
        self._keys = _keys(nothing, torch.tensor(_LOW_BITS, device=device))
        self._last = nothing[:, -1]  # score of the k-th best so far

    def add(self, scores: Tensor, start: int) -> bool:
        """Takes in the scores of the items ``start + 1 ..``; chunks come in ascending order.

        Args:
            scores: float32 (items, B), contiguous; ``-inf`` for what may not be kept.
            start: items before the chunk.
        Returns:
            Whether all scores are numbers; False says that there is a NaN, and that nothing was taken in.
        """
        levels = [scores]
        while len(levels[-1]) > _FEW:
            levels.append(_group_maxima(levels[-1]))
        maxima = levels.pop().T  # (B, groups)
        if maxima.isnan().any():  # the maximum of anything with NaN is NaN
            return False
        # an equal score does not enter: the items that are kept are smaller
        better = (maxima > self._last[:, None]).sum(dim=1)
        (users,) = torch.where(better > 0)
        if not len(users):
            return True
        found = maxima[users]
        rows = _first_greatest(found, min(self._k, int(better.max())))
        found = found.gather(1, rows)
        for level in reversed(levels):  # the k best lie in the k groups whose best are best
            rows, found = _look_into(level, rows, users)
            chosen = _first_greatest(found, self._k)
            rows, found = rows.gather(1, chosen), found.gather(1, chosen)
        keys = _keys(found, start + 1 + rows)
        self._keys[users] = torch.cat([self._keys[users], keys], dim=1).topk(self._k).values
        self._last = _scores(self._keys[:, -1])
        return True

    @property
    def keys(self) -> Tensor:
        """int64 (B, k), best first: the greatest of several such keys are the best of all, whatever parts of the
        catalogue they come from; `unpack` tells what they stand for."""
        return self._keys


def unpack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Items int64, and scores float32, of `Best.keys` of any shape; item 0 where the score is -inf."""
    scores = _scores(keys)
    return (_LOW_BITS - (keys & _LOW_BITS)).where(scores > -torch.inf, 0), scores


def _group_maxima(scores: Tensor) -> Tensor:
    """float32 (groups, B), the greatest score of each ``GROUP`` neighbouring items; the last group may be short."""
    whole = len(scores) // GROUP * GROUP
    maxima = scores[:whole].view(whole // GROUP, GROUP, scores.shape[1]).amax(dim=1)
    return maxima if whole == len(scores) else torch.cat([maxima, scores[whole:].amax(dim=0, keepdim=True)])


def _look_into(values: Tensor, groups: Tensor, users: Tensor) -> tuple[Tensor, Tensor]:
    """The members of groups.

    Args:
        values: float32 (n, B).
        groups: int64 (U, g), groups of ``GROUP`` neighbouring rows of ``values``, in any order.
        users: int64 (U,), columns of ``values``.
    Returns:
        Rows int64 (U, g * GROUP), ascending, and the users' values there, -inf beyond the last row.
    """
    rows = (groups.sort(dim=1).values[:, :, None] * GROUP + torch.arange(GROUP, device=values.device)).flatten(1)
    found = values.view(-1)[rows.clamp(max=len(values) - 1) * values.shape[1] + users[:, None]]
    return rows, found.masked_fill(rows >= len(values), -torch.inf)


def _first_greatest(values: Tensor, n: int) -> Tensor:
    """int64 (rows, at most n), places of each row's greatest values in no promised order; of equal ones the first."""
    if values.shape[1] <= n:
        return torch.arange(values.shape[1], device=values.device).expand_as(values)
    # topk picks any of those that tie for the last place: ask for one more to see whether that happens
    top = values.topk(n + 1)
    if not (top.values[:, -2] == top.values[:, -1]).any():
        return top.indices[:, :-1]
    return _keys(values, torch.arange(values.shape[1], device=values.device)).topk(n).indices


def _keys(scores: Tensor, items: Tensor) -> Tensor:
    """int64 keys that order as (score, then smaller item first), all different where items are.

    The upper half is the float32 score as an integer of the same order (sign and magnitude to two's complement), the
    lower half counts items down.
    """
    bits = (scores + 0.0).view(torch.int32)  # -0.0 + 0.0 is 0.0: they tie
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.long() << 32) | (_LOW_BITS - items)


def _scores(keys: Tensor) -> Tensor:
    """float32, the scores of keys."""
    ordered = (keys >> 32).int()
    return (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(torch.float32)
