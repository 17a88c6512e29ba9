"""Ratios of two sums over users, exact at any size, with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

from seqrec.evaluation.exact import Ints, dot, total

NORMAL = 1.96  # standard errors to either side of 95 %


@dataclass
class RatioSums:
    """Sums over users of a ratio's parts, and of their squares and products, as Python's integers.

    Attributes:
        a, b: sums of the parts, for the ratio Σa / Σb.
        aa, ab, bb: sums of a², a·b and b².
    """

    a: int = 0
    b: int = 0
    aa: int = 0
    ab: int = 0
    bb: int = 0

    def add(self, a: Ints, b: Ints) -> None:
        """Takes in users; int64 (U,) each, none negative."""
        self.a += total(a)
        self.b += total(b)
        self.aa += dot(a, a)
        self.ab += dot(a, b)
        self.bb += dot(b, b)

    @property
    def value(self) -> float:
        """Σa / Σb; 0 where Σb is 0."""
        return self.a / max(1, self.b)

    def interval(self, users: int) -> tuple[float, float]:
        """The ratio ± 1.96 standard errors of its linearisation (Cochran 1977, "Sampling Techniques", chapter 6).

        Args:
            users: how many were taken in.
        """
        a, b = self.a, max(1, self.b)
        # Σ (a - value b)², by b² and in whole numbers, of which a difference loses nothing
        squares = self.aa * b**2 - 2 * self.ab * a * b + self.bb * a**2
        margin = NORMAL * math.sqrt(squares / b**4 * users / max(1, users - 1))
        return self.value - margin, self.value + margin
