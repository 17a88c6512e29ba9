"""What is known of items beside their ids, as tensors, and the network that makes vectors of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqrec.ranking import Labels


@dataclass(frozen=True)
class ItemFeatures:
    """What is known of the N items of a catalogue.

    Attributes:
        trained: bool (N,), items with events in training; the others are cold.
        vectors: float (N, V), precomputed ones, each kind centred and scaled.
        categories: the values of each categorical attribute.
        numbers: float (N, A), numeric attributes, standardised; A may be 0.
        fingerprint: SHA-256 of what they were made from, as 64 hexadecimal digits.
    """

    trained: Tensor
    vectors: tuple[Tensor, ...]
    categories: tuple[Labels, ...]
    numbers: Tensor
    fingerprint: str


class FeatureEncoder(nn.Module):
    """Features to vectors: a linear map of each kind, their sum, and a layer on top.

    Precomputed vectors are buffers that checkpoints leave out, as they are in their files.

    Args:
        features: of N items.
        width: D.
    """

    numbers: Tensor

    def __init__(self, features: ItemFeatures, width: int):
        super().__init__()
        for number, vectors in enumerate(features.vectors):
            self.register_buffer(f"vectors_{number}", vectors, persistent=False)
        for number, one in enumerate(features.categories):
            self.register_buffer(f"codes_{number}", one.codes, persistent=False)
        self.register_buffer("numbers", features.numbers, persistent=False)
        self.of_vectors = nn.ModuleList(nn.Linear(vectors.shape[1], width) for vectors in features.vectors)
        self.of_categories = nn.ModuleList(
            nn.EmbeddingBag(one.n_labels + 1, width, mode="mean", padding_idx=0) for one in features.categories
        )
        n_numbers = features.numbers.shape[1]
        self.of_numbers = nn.Linear(n_numbers, width) if n_numbers else None
        self.on_top = nn.Sequential(nn.GELU(), nn.Linear(width, width))

    def forward(self, rows: Tensor) -> Tensor:
        """Vectors of some items.

        Args:
            rows: int64 (n,), 0..N-1.
        Returns:
            float (n, D).
        """
        parts = [of(self.get_buffer(f"vectors_{i}")[rows]) for i, of in enumerate(self.of_vectors)]
        parts += [of(self.get_buffer(f"codes_{i}")[rows]) for i, of in enumerate(self.of_categories)]
        if self.of_numbers is not None:
            parts.append(self.of_numbers(self.numbers[rows]))
        found: Tensor = self.on_top(torch.stack(parts).sum(0))
        return found
