"""Sums of integers that may outgrow 64 bits, as Python's integers: exact, and the same in any order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_LIMB_BITS = 21  # products of two limbs fit 42 bits, and so many of them 63
_BLOCK = 2**_LIMB_BITS


def total(values: Ints) -> int:
    """The sum of int64 (n,), none negative."""
    return dot(values, np.ones_like(values))


def dot(x: Ints, y: Ints) -> int:
    """The inner product of two int64 (n,), none negative."""
    return sum(_dot(x[at : at + _BLOCK], y[at : at + _BLOCK]) for at in range(0, len(x), _BLOCK))


def whole(values: Floats, unit: int) -> Ints:
    """Values >= 0 in whole parts of one, so that sums of them are exact.

    Args:
        values: float64, any shape.
        unit: parts that one has.
    Returns:
        int64, of that shape.
    """
    return np.rint(values * unit).astype(np.int64)


def _dot(x: Ints, y: Ints) -> int:
    others = list(_limbs(y))
    return sum(
        int(one @ other) << _LIMB_BITS * (i + j) for i, one in enumerate(_limbs(x)) for j, other in enumerate(others)
    )


def _limbs(values: Ints) -> Iterator[Ints]:
    while values.any():
        yield values & (_BLOCK - 1)
        values = values >> _LIMB_BITS
