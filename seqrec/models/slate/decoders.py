"""What reads a user's vector and the items of a slate so far."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class SlateDecoder(nn.Module):
    """Vectors that score the items of each place of a slate.

    The user's vector is the first input and is added to every output, so that the first place begins as the next item
    of a model without a decoder, and later ones as what changes it.

    It has no state to carry from place to place: a slate is short, and reading it again costs little beside scoring the
    catalogue.

    Args:
        kind: of the network, one layer.
        width: D.
        size: K, places of the longest slate.
    """

    def __init__(self, kind: Literal["gru", "lstm", "transformer"], width: int, size: int):
        super().__init__()
        self.network: nn.Module
        if kind == "transformer":
            self.network = _CausalLayer(width, size)
        else:
            self.network = (nn.GRU if kind == "gru" else nn.LSTM)(width, width, batch_first=True)
        self.project = nn.Linear(width, width)

    def forward(self, users: Tensor, chosen: Tensor) -> Tensor:
        """Vectors whose product with the item table scores what stands at each place.

        Args:
            users: float (T, D), the users' vectors.
            chosen: float (T, J, D), vectors of the items at the first J places.
        Returns:
            float (T, J + 1, D); place j sees the items before it and no others.
        """
        first = users.unsqueeze(1)
        found = self.network(torch.cat([first, chosen], dim=1))
        read = found if isinstance(found, Tensor) else found[0]  # recurrent networks also give their state
        scoring: Tensor = first + self.project(read)
        return scoring


class _CausalLayer(nn.Module):
    """One pre-norm layer of a transformer, in which a place sees itself and those before it."""

    def __init__(self, width: int, size: int):
        super().__init__()
        heads = 2 if width % 2 == 0 else 1
        self.places = nn.Parameter(torch.randn(size, width) * 0.02)
        self.layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, vectors: Tensor) -> Tensor:
        n_places = vectors.shape[1]
        later = torch.ones(n_places, n_places, dtype=torch.bool, device=vectors.device).triu(1)
        read: Tensor = self.norm(self.layer(vectors + self.places[:n_places], src_mask=later, is_causal=True))
        return read
