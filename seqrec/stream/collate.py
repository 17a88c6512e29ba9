"""Flat columns to padded tensors, without a loop over rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Flat = npt.NDArray[Any]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


def pad(values: Flat, starts: Int64, lengths: Int64) -> Tensor:
    """Right-padded rows ``values[starts[i] : starts[i] + lengths[i]]``.

    Copies whole rows as wide as the longest out of a view of all such rows, which is three times faster than taking
    single values; then blanks what belongs to the row's neighbour.

    Args:
        values: (events,), integers or floats, writable as torch wants it; copied where the last row, made that wide,
            ends beyond it.
        starts, lengths: int64 (B,), inside ``values``.
    Returns:
        (B, longest), int64 or the floats' own type, 0 at padding.
    """
    width = int(lengths.max(initial=1))
    if starts.max(initial=0) + width > len(values):
        values = with_slack([values], width)
    every_row = torch.from_numpy(values).unfold(0, width, 1)
    rows = every_row.index_select(0, torch.from_numpy(starts))
    if not rows.is_floating_point():
        rows = rows.long()
    if lengths.min(initial=width) < width:
        rows.masked_fill_(torch.arange(width) >= torch.from_numpy(lengths).unsqueeze(1), 0)
    return rows


def with_slack(values: list[Flat], width: int) -> Flat:
    """One array of all, with so many zeros behind them that `pad` to ``width`` need not copy it."""
    return np.concatenate([*values, np.zeros(width, values[0].dtype)])


def flatten(values: Int32 | Int64, starts: Int64, lengths: Int64) -> tuple[Int64, Int64]:
    """The same rows as compressed sparse rows.

    Returns:
        offsets int64 (B + 1,) and the rows' values int64 (sum of lengths,).
    """
    offsets, index = sparse_rows(starts, lengths)
    return offsets, values[index].astype(np.int64)


def sparse_rows(starts: Int64, lengths: Int64) -> tuple[Int64, Int64]:
    """Offsets int64 (B + 1,) of such rows, and the places int64 (sum of lengths,) of their values."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return offsets, np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
