"""Batches compared."""

from __future__ import annotations

import torch

from seqrec.stream import TrainingBatch


def same(one: TrainingBatch, other: TrainingBatch) -> bool:
    """In every field."""
    return all(
        torch.equal(value, getattr(other, name)) if isinstance(value, torch.Tensor) else value == getattr(other, name)
        for name, value in vars(one).items()
    )
