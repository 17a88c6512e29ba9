"""Cross-entropy over every item of the catalogue."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import LinearCrossEntropyOptions

from seqrec.models.losses.negatives import Negatives
from seqrec.models.losses.settings import NegativesSettings

# logits of a chunk near the size of a last-level cache: 86 targets of 12,000 items take 4 MB
_CHUNK_BYTES = 4 * 2**20
# each chunk also adds to the whole table's gradient, which costs more than its logits where the chunk is thin
_LEAST_CHUNK = 64


class FullSoftmax(nn.Module):
    """Exact cross-entropy, computed in chunks of positions so that the logits matrix never exists."""

    negatives: NegativesSettings | None = None

    def forward(self, hidden: Tensor, targets: Tensor, table: Tensor, negatives: Negatives | None = None) -> Tensor:
        """Summed loss.

        Args:
            hidden: float (T, D), one row a target; T may be 0, and then all gradients are zero.
            targets: int64 (T,), 1..N.
            table: float (N, D).
            negatives: not used.
        Returns:
            float (), in the dtype of the table: the sum over targets.
        """
        options = LinearCrossEntropyOptions(batch_chunk_size=_chunk_size(len(hidden), len(table)))
        # under autocast the backbone may give bfloat16, in which a sum over the catalogue would be far too coarse
        return F.linear_cross_entropy(hidden.to(table.dtype), table, targets - 1, reduction="sum", options=options)


def _chunk_size(n_targets: int, n_items: int) -> int:
    return max(1, min(n_targets, max(_LEAST_CHUNK, _CHUNK_BYTES // (4 * n_items))))
