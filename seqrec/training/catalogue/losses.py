"""Losses over an item table in shards, equal to those over the whole one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from seqrec.errors import UnsupportedError
from seqrec.models import FullSoftmax, Negatives, SampledLoss
from seqrec.models.losses import Loss
from seqrec.models.losses.full_softmax_kernel import accumulate
from seqrec.models.losses.sampled import only_rows
from seqrec.models.losses.settings import NegativesSettings
from seqrec.training.catalogue.shards import Shard
from seqrec.training.catalogue.table import fetch
from seqrec.training.collectives import gather_over_ranks, gather_ragged


def sharded_loss(loss: Loss, shard: Shard) -> Loss:
    """The same loss over a table in shards.

    Raises:
        UnsupportedError: a loss of the user's own, which expects the whole table.
    """
    if isinstance(loss, FullSoftmax):
        return ShardedFullSoftmax(shard)
    if isinstance(loss, SampledLoss):
        return ShardedSampledLoss(loss, shard)
    raise UnsupportedError(
        f"{type(loss).__name__} expects the whole item table, and each rank has a part of it",
        where="model.loss",
        do="choose `full_softmax` or a sampled loss, or train under `ddp`",
    )


class ShardedFullSoftmax(nn.Module):
    """Exact cross-entropy over all items: hidden vectors travel, the table does not.

    All ranks' hidden vectors are gathered, each rank makes the logits of its own items, and for each chunk of targets
    the ranks add up their sums of exponentials. All ranks meet in the forward pass and not in the backward one.

    Args:
        shard: this rank's rows.
    """

    negatives: NegativesSettings | None = None

    def __init__(self, shard: Shard):
        super().__init__()
        self._shard = shard

    def forward(self, hidden: Tensor, targets: Tensor, table: Tensor, negatives: Negatives | None = None) -> Tensor:
        """Summed loss of this rank's targets; its gradient can be taken once.

        Args:
            hidden: float (T, D), one row a target; T may be 0, and another on each rank.
            targets: int64 (T,), 1..N.
            table: float32 or float64 (n, D), this rank's rows, whose gradient is the mean over ranks.
            negatives: not used.
        Returns:
            float ().
        """
        with_gradients = torch.is_grad_enabled()
        with torch.autocast(table.device.type, enabled=False):
            loss: Tensor = _ShardedSoftmax.apply(  # type: ignore[no-untyped-call]
                hidden.to(table.dtype), table, targets - 1, self._shard, with_gradients
            )
        return loss


class _ShardedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, targets: Tensor, shard: Shard, with_gradients: bool) -> Tensor:
        counts = gather_over_ranks(torch.tensor([len(hidden)], device=hidden.device))
        first = int(counts[: shard.rank].sum())
        own = slice(first, first + len(hidden))
        every_hidden, every_target = gather_ragged(hidden, counts), gather_ragged(targets, counts)
        by_hidden = torch.empty_like(every_hidden) if with_gradients and ctx.needs_input_grad[0] else None
        by_table = torch.zeros_like(table) if with_gradients and ctx.needs_input_grad[1] else None
        losses = accumulate(every_hidden, every_target, table, by_hidden, by_table, shard)
        if by_hidden is not None:
            by_hidden = shard.sum(by_hidden)[own].clone()
        ctx.world_size = shard.world_size
        ctx.save_for_backward(by_hidden, by_table)
        return losses[own].sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:
        """The factor is the same on all ranks: theirs is one loss."""
        by_hidden, by_table = ctx.saved_tensors
        # in place, as over a large catalogue a second table of gradients would double the memory
        return (
            by_hidden if by_hidden is None else by_hidden.mul_(factor),
            by_table if by_table is None else by_table.mul_(factor / ctx.world_size),
            None,
            None,
            None,
        )


class ShardedSampledLoss(nn.Module):
    """A sampled loss over the rows that its targets and negatives are, fetched from the ranks that hold them.

    Args:
        loss: over a table that is at hand.
        shard: this rank's rows.
    """

    def __init__(self, loss: SampledLoss, shard: Shard):
        super().__init__()
        self._loss = loss
        self._shard = shard
        # the gradient of the fetched rows is dense; that of the shard need not be
        self._row_gradients, loss.row_gradients = loss.row_gradients, False

    @property
    def negatives(self) -> NegativesSettings:
        """As `SampledLoss.negatives`."""
        return self._loss.negatives

    def forward(self, hidden: Tensor, targets: Tensor, table: Tensor, negatives: Negatives | None = None) -> Tensor:
        """Summed loss of this rank's targets, as `SampledLoss.forward` for a ``table`` (n, D) of this rank's rows."""
        if negatives is None:
            raise ValueError(f"{type(self._loss).__name__} needs the negatives of the step")
        items, targets, negatives = only_rows(targets, negatives.to(targets.device, table.dtype))
        rows = fetch(table, items - 1, self._shard, sparse=self._row_gradients)
        loss: Tensor = self._loss(hidden, targets, rows, negatives, n_items=self._shard.n_items)
        return loss
