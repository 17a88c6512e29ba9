"""Full softmax cross-entropy: three matrix products and one pass of exponentials over each logit.

Fastest on the CPU; and anywhere the one for a table whose rows lie in several places.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from seqrec.models.losses.table_parts import TablePart

# what a chunk's logits take: they are written once and read three times, and a last-level cache holds them meanwhile
_CHUNK_BYTES = 4 * 2**20
# on an accelerator launches cost more than memory traffic
_ACCELERATOR_CHUNK_BYTES = 256 * 2**20
# each chunk also reads and writes the whole table's gradient, which thin chunks pay too often; BLAS is slow beside it
_CHUNK_STEP = 64
# sums of catalogues of 2**60 items still neither overflow nor underflow in float32 while |logit| <= 64 in base 2
_LARGEST_UNSHIFTED = 64.0


def full_softmax(hidden: Tensor, targets: Tensor, table: Tensor) -> Tensor:
    """Summed cross-entropy of softmax(hidden · tableᵀ), without ever holding all the logits.

    Gradients are made together with the loss, chunk by chunk of positions, so each logit is computed once. A chunk
    holds exponentials over the catalogue that nothing normalises: with Z their sums, dX = (E / Z) · W is computed as
    (E · W) / Z and dW = (E / Z)ᵀ · X as Eᵀ · (X / Z), so the division touches T x D numbers and not T x N. They are
    powers of two, of hidden / ln 2, since torch's exp2 takes a third of the time of its exp at the same precision.
    Extra memory: the gradients, and 64 logits an item or 4 MB, whichever is more.

    Args:
        hidden: float32 or float64 (T, D), on the CPU; T may be 0.
        targets: int64 (T,), 0..N-1, or -1 in a row that counts for nothing.
        table: (N, D), of the same dtype.
    Returns:
        (), of the same dtype. It can be differentiated once: its backward pass consumes the gradients made here.
    """
    differentiate = torch.is_grad_enabled()
    loss: Tensor = _FullSoftmax.apply(  # type: ignore[no-untyped-call]
        hidden, targets, table, differentiate and hidden.requires_grad, differentiate and table.requires_grad
    )
    return loss


class _FullSoftmax(Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, targets: Tensor, table: Tensor, hidden_grad: bool, table_grad: bool
    ) -> Tensor:
        d_hidden = torch.empty_like(hidden, memory_format=torch.contiguous_format) if hidden_grad else None
        d_table = torch.zeros_like(table, memory_format=torch.contiguous_format) if table_grad else None
        with torch.autocast("cpu", enabled=False):
            loss = accumulate(hidden, targets, table, d_hidden, d_table).sum()
        ctx.save_for_backward(d_hidden, d_table)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # in place: over a large catalogue a second table of gradients would double the memory
        d_hidden, d_table = (saved if saved is None else saved.mul_(grad) for saved in ctx.saved_tensors)
        return d_hidden, None, d_table, None, None


def accumulate(
    hidden: Tensor,
    targets: Tensor,
    table: Tensor,
    d_hidden: Tensor | None,
    d_table: Tensor | None,
    part: TablePart | None = None,
) -> Tensor:
    """The losses, and the gradients of their sum.

    Where ``table`` is a part of the whole, every part is to be called alike, with all the targets; they meet for each
    chunk, whose exponentials are gone when the next one begins.

    Args:
        hidden: float (T, D).
        targets: int64 (T,), 0..N-1, rows of the whole table.
        table: (n, D), the rows of the part.
        d_hidden: (T, D), written: what these rows contribute to the gradient of ``hidden``; None for no gradient.
        d_table: (n, D), added to: the gradient of ``table``; None for none.
        part: which rows; None for all N.
    Returns:
        (T,), the loss of each target, over the whole table.
    """
    part = part or TablePart()
    n_items = len(table)
    held = _CHUNK_BYTES if hidden.device.type == "cpu" else _ACCELERATOR_CHUNK_BYTES
    chunk = _chunk_size(len(hidden), part.most_rows(n_items), held)
    scaled = hidden / math.log(2)
    unshifted = _largest_logits(scaled, table, part) <= _LARGEST_UNSHIFTED
    losses = hidden.new_empty(len(hidden))  # in base 2
    space = hidden.new_empty(n_items * chunk)
    for start in range(0, len(hidden), chunk):
        rows = slice(start, start + chunk)
        x, place, ignored = hidden[rows], targets[rows] - part.first, targets[rows] < 0
        here = ((place >= 0) & (place < n_items)).to(hidden.dtype)
        place = place.clamp(0, n_items - 1).unsqueeze(0)
        # items lie along the first dimension: BLAS is faster so, and a run of items is one piece of memory
        logits = torch.mm(table, scaled[rows].t(), out=space[: n_items * len(x)].view(n_items, len(x)))
        shift = None if unshifted[rows].all() else part.greatest(logits.amax(0))
        target_logits = logits.gather(0, place).squeeze(0) * here
        totals, target_logits = part.sum(torch.stack([_exponentials_(logits, shift), target_logits]))
        row_losses = totals.log2() - (target_logits if shift is None else target_logits - shift)
        losses[rows] = row_losses.masked_fill_(ignored, 0.0)
        # now softmax minus one-hot, times the total
        logits.scatter_add_(0, place, -(totals * here).unsqueeze(0))
        totals = totals.masked_fill(ignored, math.inf).unsqueeze(1)  # no gradient
        if d_hidden is not None:
            torch.mm(logits.t(), table, out=d_hidden[rows]).div_(totals)
        if d_table is not None:
            d_table.addmm_(logits, x / totals)
    return losses * math.log(2)


def _exponentials_(logits: Tensor, shift: Tensor | None) -> Tensor:
    """Turns (N, C) logits into powers of two, in place, a cache-sized piece at a time; returns their (C,) sums."""
    totals = logits.new_zeros(logits.shape[1])
    for piece in torch.split(logits, max(1, _CHUNK_BYTES // (logits.element_size() * logits.shape[1]))):
        if shift is not None:
            piece.sub_(shift)
        totals += piece.exp2_().sum(0)
    return totals


def _largest_logits(hidden: Tensor, table: Tensor, part: TablePart) -> Tensor:
    """Bound (T,) on the magnitude of each row's logits, by Cauchy and Schwarz; it spares most models a search."""
    longest = part.greatest(torch.linalg.vector_norm(table, dim=1).amax())
    bounds: Tensor = torch.linalg.vector_norm(hidden, dim=1) * longest
    return bounds


def _chunk_size(n_targets: int, n_items: int, held: int = _CHUNK_BYTES) -> int:
    whole_steps = held // (4 * n_items) // _CHUNK_STEP * _CHUNK_STEP
    return max(1, min(n_targets, max(_CHUNK_STEP, whole_steps)))
