"""Positions: a learned vector for each, or queries and keys that are turned by them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Positions = Literal["learned", "rotary", "none"]
_BASE = 10_000.0


class LearnedPositions(nn.Module):
    """Adds a trained vector to each position.

    Args:
        n_positions: of the longest input.
        width: H.
    """

    def __init__(self, n_positions: int, width: int):
        super().__init__()
        self.table = nn.Embedding(n_positions, width)

    def forward(self, vectors: Tensor) -> Tensor:
        """The sum, float (B, L, H)."""
        found: Tensor = vectors + self.table(torch.arange(vectors.shape[1], device=vectors.device))
        return found


def rotated(x: Tensor) -> Tensor:
    """Queries or keys float (B, heads, L, d), d even, each turned by its position.

    Source: RoPE, Su et al. 2021, arXiv:2104.09864, with halves in place of neighbours as in Llama.
    """
    half = x.shape[-1] // 2
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    rates = _BASE ** (-torch.arange(half, device=x.device, dtype=dtype) / half)
    angles = torch.arange(x.shape[-2], device=x.device, dtype=dtype).unsqueeze(1) * rates  # (L, d / 2)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
