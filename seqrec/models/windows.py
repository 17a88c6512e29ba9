"""The events that follow each position of a sequence, as a slate is to hold them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from seqrec.models.items import PAD


def windows(targets: Tensor, size: int) -> Tensor:
    """The next events of each position.

    Args:
        targets: int64 (B, L), the next event of each position, PAD where there is none.
        size: K.
    Returns:
        int64 (B, L, K), a view; PAD where a sequence has ended.
    """
    return F.pad(targets, (0, size - 1), value=PAD).unfold(1, size, 1)


def without_repeats(slates: Tensor) -> Tensor:
    """The same int64 (..., K), with PAD for an item that stands there before: no slate holds an item twice."""
    repeats = (slates.unsqueeze(-1) == slates.unsqueeze(-2)).tril(-1).any(-1)
    return slates.masked_fill(repeats, PAD)
