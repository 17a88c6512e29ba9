"""Lookups in an item table of which each rank holds a shard."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from seqrec.models import ItemTable
from seqrec.models.items import masked
from seqrec.training.catalogue.shards import Shard


class ShardedItemTable(ItemTable):
    """The item table, of which only this rank's rows are here: weights, gradient and optimiser states.

    Every lookup is one exchange with the other ranks, forward and backward, so that all of them must make as many.

    Args:
        made: the table, the same on all ranks, or only the shard's rows of it; it can be thrown away afterwards.
        shard: this rank's rows.

    Attributes:
        weight: float (n, D), the rank's rows.
    """

    def __init__(self, made: ItemTable, shard: Shard):
        nn.Module.__init__(self)  # no table to be made first
        rows = made.weight.detach()
        rows = rows[shard.own].clone() if len(rows) == shard.n_items else rows
        self.n_items = shard.n_items
        self.weight = nn.Parameter(rows, requires_grad=made.weight.requires_grad)
        self.mask = made.mask
        self.attributes = None
        self.row_gradients = made.row_gradients
        self.shard = shard

    def forward(self, items: Tensor) -> Tensor:
        """Vectors of items, as `ItemTable.forward`; all ranks meet."""
        rows, place = torch.unique((items - 1).clamp(min=0), return_inverse=True)
        vectors = F.embedding(place, fetch(self.weight, rows, self.shard, sparse=self.row_gradients))
        return masked(vectors, items, self.mask)


def fetch(weight: Tensor, rows: Tensor, shard: Shard, *, sparse: bool = False) -> Tensor:
    """Rows of the whole table, from the ranks that hold them; all ranks meet, forward and backward.

    The shard's gradient is the mean over ranks of what each contributes, as DDP makes it of other gradients.

    Args:
        weight: float (n, D), this rank's rows.
        rows: int64 (U,), 0..N-1, ascending; U may be 0 and another on each rank.
        shard: which rows these are.
        sparse: whether the gradient is.
    Returns:
        float (U, D).
    """
    vectors: Tensor = _Fetch.apply(weight, rows, shard, sparse)  # type: ignore[no-untyped-call]
    return vectors


class _Fetch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Tensor, shard: Shard, sparse: bool) -> Tensor:
        by_owner = shard.counts_by_owner(rows)
        ctx.asked, ctx.asking = by_owner.tolist(), shard.exchange_counts(by_owner)
        ctx.own = shard.exchange(rows, ctx.asked, ctx.asking) - shard.first
        ctx.shard, ctx.sparse, ctx.shape = shard, sparse, weight.shape
        return shard.exchange(weight.index_select(0, ctx.own), ctx.asking, ctx.asked)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        shard: Shard = ctx.shard
        values = shard.exchange(gradient, ctx.asked, ctx.asking) / shard.world_size
        if ctx.sparse:
            by_weight = torch.sparse_coo_tensor(ctx.own.unsqueeze(0), values, ctx.shape, check_invariants=False)
        else:
            by_weight = values.new_zeros(ctx.shape).index_add_(0, ctx.own, values)
        return by_weight, None, None, None
