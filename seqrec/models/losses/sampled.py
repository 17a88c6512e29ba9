"""What losses over shared negatives have in common: one matrix product forward, two backward, one buffer of scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from seqrec.models.losses.negatives import Negatives
from seqrec.models.losses.settings import NegativesSettings


class Terms(NamedTuple):
    """A loss with its derivatives.

    Attributes:
        loss: float (T,), of each target.
        by_positive: float (T,), by the targets' scores.
        by_score: float (T, m), by the negatives' scores; 0 where a score is -inf.
    """

    loss: Tensor
    by_positive: Tensor
    by_score: Tensor


class SampledLoss(nn.Module, ABC):
    """A loss of the scores of targets and of negatives that all targets of a step share.

    A negative that is the row's own target is left out: its score counts as -inf. A loss is given by `terms`; the
    gradients are made in the forward pass, so that scores and what is made of them are never kept.

    Args:
        settings: where negatives come from.

    Attributes:
        negatives: the same, for whoever draws them.
        row_gradients: whether the table's gradient is sparse, with the rows of targets and negatives only.
    """

    row_gradients = False

    def __init__(self, settings: NegativesSettings):
        super().__init__()
        self.negatives = settings

    @abstractmethod
    def terms(self, positive: Tensor, scores: Tensor, negatives: Negatives, n_items: int) -> Terms:
        """The loss of scores.

        Args:
            positive: float (T,), scores of the targets.
            scores: float (T, m), of the negatives, -inf where one is the target; may be overwritten.
            negatives: the m negatives.
            n_items: catalogue size N.
        """

    def forward(
        self,
        hidden: Tensor,
        targets: Tensor,
        table: Tensor,
        negatives: Negatives | None = None,
        *,
        n_items: int | None = None,
    ) -> Tensor:
        """Summed loss.

        Args:
            hidden: float (T, D), one row a target; T may be 0, and then all gradients are zero.
            targets: int64 (T,), 1..N, or 0 in a row that counts for nothing.
            table: float (N, D).
            negatives: those of the step.
            n_items: catalogue size, where ``table`` has only those rows that targets and negatives are; None for N.
        Returns:
            float (), in the dtype of the table: the sum over targets. It has first derivatives only.
        Raises:
            ValueError: no negatives.
        """
        if negatives is None:
            raise ValueError(f"{type(self).__name__} needs the negatives of the step")
        # under autocast the backbone may give bfloat16, in which sums over negatives would be far too coarse
        hidden, negatives = hidden.to(table.dtype), negatives.to(table.device, table.dtype)
        with torch.autocast(table.device.type, enabled=False):
            loss: Tensor = _SharedNegatives.apply(  # type: ignore[no-untyped-call]
                hidden, table, targets, negatives, self, n_items or len(table), torch.is_grad_enabled()
            )
        return loss


class _SharedNegatives(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        targets: Tensor,
        negatives: Negatives,
        loss: SampledLoss,
        n_items: int,
        with_gradients: bool,
    ) -> Tensor:
        counts = (targets > 0).to(table.dtype).unsqueeze(1)  # (T, 1)
        own_rows = (targets - 1).clamp(min=0)
        own = table.index_select(0, own_rows)  # (T, D)
        others = table.index_select(0, negatives.items - 1)  # (m, D)
        scores = hidden @ others.T  # (T, m)
        _leave_out(scores, targets, negatives.items)
        terms = loss.terms((hidden * own).sum(1), scores, negatives, n_items)
        by_positive = terms.by_positive.unsqueeze(1) * counts
        ctx.shape, ctx.row_gradients = table.shape, loss.row_gradients
        by_hidden = by_rows = None
        if with_gradients and ctx.needs_input_grad[0]:
            by_hidden = torch.addcmul((terms.by_score @ others).mul_(counts), by_positive, own)
        if with_gradients and ctx.needs_input_grad[1]:
            by_rows = torch.cat([by_positive * hidden, terms.by_score.T @ (hidden * counts)])  # (T + m, D)
        ctx.save_for_backward(by_hidden, by_rows, torch.cat([own_rows, negatives.items - 1]))
        return (terms.loss * counts.squeeze(1)).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:
        by_hidden, by_rows, rows = ctx.saved_tensors
        by_table = None
        if by_rows is not None:
            by_table = _table_gradient(rows, by_rows * factor, ctx.shape, sparse=ctx.row_gradients)
        return None if by_hidden is None else by_hidden * factor, by_table, None, None, None, None, None


def only_rows(targets: Tensor, negatives: Negatives) -> tuple[Tensor, Tensor, Negatives]:
    """Targets and negatives as items of a table that has no rows but theirs.

    Args:
        targets: int64 (T,), 1..N, or 0 for none.
        negatives: on the same device.
    Returns:
        Which items of 1..N the table's rows are, int64 (U,), ascending; targets and negatives as items 1..U of it.
    """
    items, place = torch.unique(torch.cat([targets.clamp(min=1), negatives.items]), return_inverse=True)
    here, there = place[: len(targets)] + 1, place[len(targets) :] + 1
    return items, here * (targets > 0), negatives._replace(items=there)


def _leave_out(scores: Tensor, targets: Tensor, negatives: Tensor) -> None:
    """Sets scores of negatives that are the target to -inf: one place a row, as negatives are different, ascending."""
    place = torch.searchsorted(negatives, targets).clamp_(max=len(negatives) - 1).unsqueeze(1)  # (T, 1)
    is_target = negatives[place] == targets.unsqueeze(1)
    scores.scatter_(1, place, scores.gather(1, place).masked_fill_(is_target, float("-inf")))


def _table_gradient(rows: Tensor, values: Tensor, shape: torch.Size, *, sparse: bool) -> Tensor:
    if sparse:
        return torch.sparse_coo_tensor(rows.unsqueeze(0), values, shape, check_invariants=False)
    return values.new_zeros(shape).index_add_(0, rows, values)
