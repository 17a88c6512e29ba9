"""One vector of a user, from the hidden vectors at all positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqrec.outcomes import PoolingKind


class Pooling(nn.Module):
    """Takes the hidden vectors of a sequence together.

    Args:
        kind: last: that of the last position; mean and max: over all positions, channel by channel; attention: a mean
            whose weights are the softmax of a trained map of each vector.
        width: D.
    """

    def __init__(self, kind: PoolingKind, width: int):
        super().__init__()
        self.kind = kind
        # without a bias, which a softmax would not see
        self.score = nn.Linear(width, 1, bias=False) if kind == "attention" else None

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """The user vectors.

        Args:
            hidden: float (B, L, D); what stands at padding is not read.
            lengths: int64 (B,), 1..L.
        Returns:
            float (B, D).
        """
        if self.kind == "last":
            return last(hidden, lengths)
        real = (torch.arange(hidden.shape[1], device=lengths.device) < lengths.unsqueeze(1)).unsqueeze(-1)
        if self.kind == "max":
            return hidden.masked_fill(~real, -torch.inf).amax(1)
        if self.score is None:
            weights = real.to(hidden.dtype) / lengths.view(-1, 1, 1)
        else:
            weights = self.score(hidden).masked_fill(~real, -torch.inf).softmax(1)
        return (hidden.masked_fill(~real, 0) * weights).sum(1)


def last(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Of float (B, L, D) the vectors at the last of each row's positions, float (B, D)."""
    # `len` would tie an exported graph to one number of rows
    return hidden[torch.arange(lengths.shape[0], device=lengths.device), lengths - 1]
