"""Item vectors side by side, on one scale."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

from seqrec.errors import TokenizerError


class Blocks(NamedTuple):
    """Where vectors of several kinds lie side by side, and how they are brought to one scale.

    Attributes:
        centres: float (D,), means of all vectors, as they came.
        factors: float (D,), the same within a block: its root mean square length becomes its weight.
        widths: int64 (blocks,), which sum to D.
    """

    centres: Tensor
    factors: Tensor
    widths: Tensor

    @classmethod
    def of(cls, blocks: Sequence[Tensor], weights: Sequence[float]) -> Self:
        """The scales of blocks float (N, D_i), whose lengths shall be as the weights.

        Raises:
            TokenizerError: a number is not finite.
        """
        for number, block in enumerate(blocks):
            if not block.isfinite().all():
                row = int((~block.isfinite().all(1)).nonzero()[0])
                raise TokenizerError(
                    "a vector has numbers that are not finite",
                    where=f"tokenizer.vectors: {number + 1}",
                    first=f"of item {row + 1}",
                    do="look at what it is made from",
                )
        centres = torch.cat([block.mean(0) for block in blocks])
        lengths = [(block - block.mean(0)).square().sum(1).mean().sqrt() for block in blocks]
        factors = [
            (weight / length.clamp(min=1e-12)).expand(block.shape[1])
            for block, weight, length in zip(blocks, weights, lengths, strict=True)
        ]
        return cls(centres, torch.cat(factors), torch.tensor([block.shape[1] for block in blocks]))

    def joined(self, blocks: Sequence[Tensor | None]) -> Tensor:
        """float (n, D): blocks float (n, D_i) on their scales; the mean where nothing is known, as of a cold item.

        Raises:
            TokenizerError: they are of other widths, or all unknown.
        """
        widths, known = self.widths.tolist(), [block for block in blocks if block is not None]
        given = [None if block is None else block.shape[1] for block in blocks]
        fits = len(given) == len(widths) and all(a in (None, b) for a, b in zip(given, widths, strict=True))
        if not known or not fits:
            raise TokenizerError(
                f"vectors of widths {given} for a tokenizer of {widths}",
                do="give those of each kind in the order of `tokenizer.vectors`; None for a kind, but not for all",
            )
        parts = [
            centre.expand(len(known[0]), -1) if block is None else block
            for block, centre in zip(blocks, torch.split(self.centres, widths), strict=True)
        ]
        return (torch.cat(parts, dim=1) - self.centres) * self.factors


def digest(vectors: Tensor) -> str:
    """SHA-256 of float vectors, to 5 decimals, as last bits differ between machines."""
    rounded = (vectors * 1e5).round().to(torch.int64)
    return hashlib.sha256(rounded.cpu().contiguous().numpy().tobytes()).hexdigest()
