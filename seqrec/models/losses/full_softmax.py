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
    """Exact cross-entropy, computed in chunks of positions so that the logits matrix never exists.

    Args:
        label_smoothing: share ε of each target that is spread evenly over all items.
    """

    negatives: NegativesSettings | None = None

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__()
        self.label_smoothing = label_smoothing

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
        loss = _cross_entropy(hidden, targets, table)
        if self.label_smoothing:
            loss = loss + self.label_smoothing * _gap_to_mean(hidden, targets, table)
        return loss


def _cross_entropy(hidden: Tensor, targets: Tensor, table: Tensor) -> Tensor:
    if hidden.device.type == "cpu" and table.dtype in (torch.float32, torch.float64):
        return full_softmax(hidden, targets - 1, table)
    # accelerators: the kernel's branch on the size of the logits would wait for the device in each chunk;
    # half precision: torch's accumulates in float32
    chunk = max(1, min(len(hidden), max(_LEAST_CHUNK, _CHUNK_BYTES // (4 * len(table)))))
    options = LinearCrossEntropyOptions(batch_chunk_size=chunk)
    return F.linear_cross_entropy(hidden, table, targets - 1, reduction="sum", ignore_index=-1, options=options)


def _gap_to_mean(hidden: Tensor, targets: Tensor, table: Tensor) -> Tensor:
    """Σ_t (s⁺ - mean over items of s): what smoothing adds to the cross-entropy, over its share.

    With targets of (1 - ε) one-hot + ε / N the loss is log Z - (1 - ε) s⁺ - ε mean(s), and a mean of scores is the
    score of the mean vector, so that no score but the targets' is made.
    """
    counts = (targets > 0).to(table.dtype).unsqueeze(1)
    own = table.index_select(0, (targets - 1).clamp(min=0))
    return (counts * hidden * (own - table.mean(0))).sum()
