"""Flat columns to padded tensors, without a loop over rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Int64 = npt.NDArray[np.int64]


def pad(values: npt.NDArray[np.int32], starts: Int64, lengths: Int64) -> Tensor:
    """Right-padded rows ``values[starts[i] : starts[i] + lengths[i]]``.

    Args:
        values: int32 (events,).
        starts, lengths: int64 (B,), inside ``values``.
    Returns:
        int64 (B, longest), 0 at padding.
    """
    column = np.arange(lengths.max(initial=1))
    real = column < lengths[:, None]
    return torch.from_numpy(values[np.where(real, starts[:, None] + column, 0)].astype(np.int64) * real)


def flatten(values: npt.NDArray[np.int32], starts: Int64, lengths: Int64) -> tuple[Int64, Int64]:
    """The same rows as compressed sparse rows.

    Returns:
        offsets int64 (B + 1,) and the rows' values int64 (sum of lengths,).
    """
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    index = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    return offsets, values[index].astype(np.int64)
