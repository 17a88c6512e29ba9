"""What the full softmax allocates, in place of its loop over chunks, which has thousands of turns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from seqrec.models import Negatives, NegativesSettings

# as in `seqrec.models.losses.full_softmax_kernel` and `full_softmax`: what a chunk's logits take, and its least size
_CPU_BYTES, _ACCELERATOR_BYTES, _LEAST_CHUNK = 4 * 2**20, 256 * 2**20, 64
_ACCELERATOR_COPIES = 2  # torch's kernel holds logits and their gradients


class FullSoftmaxOutline(nn.Module):
    """Takes the place of `FullSoftmax` in a trace.

    Args:
        on_cpu: which of its kernels.

    Attributes:
        flops: FLOP of the logits and of both gradients so far, which no operator of the trace computes.
    """

    negatives: NegativesSettings | None = None

    def __init__(self, *, on_cpu: bool):
        super().__init__()
        self._bytes = _CPU_BYTES if on_cpu else _ACCELERATOR_BYTES
        self._copies = 1 if on_cpu else _ACCELERATOR_COPIES
        self.flops = 0.0

    def forward(self, hidden: Tensor, targets: Tensor, table: Tensor, negatives: Negatives | None = None) -> Tensor:
        """As `FullSoftmax.forward`."""
        self.flops += 6.0 * len(hidden) * table.numel()
        chunk = min(len(hidden), max(_LEAST_CHUNK, self._bytes // (4 * len(table))))
        loss: Tensor = _Outline.apply(hidden.to(table.dtype), table, self._copies * chunk)  # type: ignore[no-untyped-call]
        return loss


class _Outline(Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, chunk: int) -> Tensor:
        d_hidden = torch.empty_like(hidden) if hidden.requires_grad else None
        d_table = torch.empty_like(table) if table.requires_grad else None
        scaled, _space = torch.empty_like(hidden), hidden.new_empty(len(table), chunk)
        ctx.save_for_backward(d_hidden, d_table)
        return scaled.new_empty(())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *ctx.saved_tensors, None
