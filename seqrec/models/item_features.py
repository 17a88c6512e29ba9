"""What is known of items beside their ids, as tensors, and the network that makes vectors of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqrec.ranking import Labels

_LEAST_VARIANCE = 1e-6  # of a direction, as a share of the greatest; below, there is nothing but rounding


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
    """Features to vectors: a linear map of each kind, their sum, and what a layer on top adds to that.

    Before any training the layer adds nothing, categories and numbers add little, and vectors are mapped so that items
    are as alike as their vectors say (`principal_map`). From random maps that likeness would have to be learnt anew,
    from the items that have events, and most of it would never be.

    Precomputed vectors are buffers that checkpoints leave out, as they are in their files.

    Args:
        features: of N items.
        width: D.
        init_std: standard deviation of the initial maps of categories and numbers.
    """

    numbers: Tensor

    def __init__(self, features: ItemFeatures, width: int, *, init_std: float):
        super().__init__()
        for number, vectors in enumerate(features.vectors):
            self.register_buffer(f"vectors_{number}", vectors, persistent=False)
        for number, one in enumerate(features.categories):
            self.register_buffer(f"codes_{number}", one.codes, persistent=False)
        self.register_buffer("numbers", features.numbers, persistent=False)
        self.of_vectors = nn.ModuleList(
            _linear(principal_map(vectors[features.trained], width)) for vectors in features.vectors
        )
        self.of_categories = nn.ModuleList(
            nn.EmbeddingBag(one.n_labels + 1, width, mode="mean", padding_idx=0) for one in features.categories
        )
        for categories in self.of_categories:
            nn.init.normal_(categories.get_parameter("weight"), std=init_std)
        n_numbers = features.numbers.shape[1]
        self.of_numbers = _linear(torch.randn(width, n_numbers) * init_std) if n_numbers else None
        self.on_top = nn.Sequential(nn.Linear(width, width), nn.GELU(), _linear(torch.zeros(width, width)))

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
        summed = torch.stack(parts).sum(0)
        found: Tensor = summed + self.on_top(summed)
        return found


def _linear(weight: Tensor) -> nn.Linear:
    """A linear map that starts as a matrix."""
    made = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        made.weight.copy_(weight)
    nn.init.zeros_(made.bias)
    return made


def principal_map(vectors: Tensor, width: int) -> Tensor:
    """The linear map to fewer dimensions that keeps best which vectors are alike.

    It takes the principal directions, each over the root of its deviation: half-way to whitening, as text encoders put
    much of their variance into few directions, which say little of what goes with what.

    Args:
        vectors: float (n, V), centred.
        width: D; dimensions beyond V stay empty.
    Returns:
        float (D, V), after which the vectors have a root mean square length of 1.
    """
    variances, directions = torch.linalg.eigh((vectors.T @ vectors / len(vectors)).double())  # ascending
    kept = min(width, int((variances > variances[-1] * _LEAST_VARIANCE).sum()))
    variances, directions = variances.flip(0)[:kept], directions.flip(1)[:, :kept]
    found = vectors.new_zeros(width, vectors.shape[1])
    found[:kept] = (directions * variances**-0.25).T / variances.sqrt().sum().sqrt()
    return found
