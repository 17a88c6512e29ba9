"""Cross-entropy over every item of the catalogue."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import LinearCrossEntropyOptions

from seqrec.models.losses.full_softmax_kernel import full_softmax
from seqrec.models.losses.negatives import Negatives
from seqrec.models.losses.settings import NegativesSettings

# logits of a chunk on an accelerator: large, since there each chunk's launches cost more than its memory traffic
_CHUNK_BYTES = 256 * 2**20
_LEAST_CHUNK = 64


class FullSoftmax(nn.Module):
    """Exact cross-entropy, computed in chunks of positions so that the logits matrix never exists."""

    negatives: NegativesSettings | None = None

    def forward(self, hidden: Tensor, targets: Tensor, table: Tensor, negatives: Negatives | None = None) -> Tensor:
        """Summed loss; its gradient can be taken once.

        Args:
            hidden: float (T, D), one row a target; T may be 0, and then all gradients are zero.
            targets: int64 (T,), 1..N, or 0 in a row that counts for nothing.
            table: float (N, D).
            negatives: not used.
        Returns:
            float (), in the dtype of the table: the sum over targets.
        """
        # under autocast the backbone may give bfloat16, in which a sum over the catalogue would be far too coarse
        hidden = hidden.to(table.dtype)
        if hidden.device.type == "cpu" and table.dtype in (torch.float32, torch.float64):
            return full_softmax(hidden, targets - 1, table)
        # accelerators: the kernel's branch on the size of the logits would wait for the device in each chunk;
        # half precision: torch's accumulates in float32
        chunk = max(1, min(len(hidden), max(_LEAST_CHUNK, _CHUNK_BYTES // (4 * len(table)))))
        options = LinearCrossEntropyOptions(batch_chunk_size=chunk)
        return F.linear_cross_entropy(hidden, table, targets - 1, reduction="sum", ignore_index=-1, options=options)
