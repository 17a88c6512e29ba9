"""How alike two items are: by their vectors or by their labels, always the cosine of unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

SEPARATOR = "|"  # of the labels of an item, as MovieLens writes genres


def label_sets(texts: Sequence[str | None], separator: str | None = SEPARATOR) -> list[list[str]]:
    """The labels that texts hold, each once and in its order; a text is one label where there is no separator."""
    parts = ([text or ""] if separator is None else (text or "").split(separator) for text in texts)
    return [list(dict.fromkeys(filter(None, map(str.strip, labels)))) for labels in parts]


class Similarity(Protocol):
    """Of any two items; a matrix of it is positive semi-definite, as a determinantal point process needs."""

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """Similarities of each pair.

        Args:
            a: int64 (B, M), items, 0 for none.
            b: int64 (B, K), likewise.
        Returns:
            float32 (B, M, K), in -1..1; anything for item 0.
        """
        ...

    def known(self, items: Tensor) -> Tensor:
        """Whether the items of any shape, 0 for none, can be compared; bool of that shape, anything for item 0."""
        ...

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        ...


@dataclass(frozen=True)
class VectorSimilarity:
    """Cosine of item vectors.

    Attributes:
        unit: float32 (N, D), vectors of length 1, or 0.
    """

    unit: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> Self:
        """From vectors of any length; float (N, D), row r for item r + 1."""
        return cls(normalize(vectors.detach().float(), dim=1))

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """As `Similarity` says."""
        one, other = (self.unit[(items - 1).clamp(min=0)] for items in (a, b))
        return one @ other.transpose(1, 2)

    def known(self, items: Tensor) -> Tensor:
        """All are."""
        return torch.ones_like(items, dtype=torch.bool)

    def to(self, device: torch.device) -> Self:
        """As `Similarity` says."""
        return type(self)(self.unit.to(device))


@dataclass(frozen=True)
class Labels:
    """Labels of items, as categories; also their similarity, the cosine of sets: shared / sqrt(number · number).

    Items without a label are as alike as those of one label: else nothing would be as new as they are, and lists that
    are re-ranked would fill with them.

    Attributes:
        codes: int64 (N, L), the labels of item r + 1 in row r, 1..n_labels without repeats, then 0.
        n_labels: different labels.
    """

    codes: Tensor
    n_labels: int

    @classmethod
    def of(cls, texts: Sequence[str | None], separator: str | None = SEPARATOR) -> Self:
        """From one text an item, as `label_sets` splits it; N texts, None or empty where it has none."""
        sets = label_sets(texts, separator)
        names = {name: code for code, name in enumerate(sorted({name for names in sets for name in names}), start=1)}
        codes = np.zeros((len(sets), max([1, *map(len, sets)])), dtype=np.int64)
        for row, labels in enumerate(sets):
            codes[row, : len(labels)] = [names[name] for name in labels]
        return cls(torch.from_numpy(codes), len(names))

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """As `Similarity` says."""
        one, other = (self.codes[(items - 1).clamp(min=0)] for items in (a, b))  # (B, M, L), (B, K, L)
        bare = [codes[:, :, 0] == 0 for codes in (one, other)]
        shared = (bare[0][:, :, None] & bare[1][:, None, :]).float()
        # label by label: all pairs of labels of all pairs of items at once would be L² times the memory
        for column in range(one.shape[2]):
            labels = one[:, :, None, column]
            for beside in range(other.shape[2]):
                shared += (labels == other[:, None, :, beside]) & (labels > 0)
        sizes = [(codes > 0).sum(dim=2).clamp(min=1).float().rsqrt() for codes in (one, other)]
        return shared * sizes[0][:, :, None] * sizes[1][:, None, :]

    def known(self, items: Tensor) -> Tensor:
        """Whether they have a label."""
        return self.codes[(items - 1).clamp(min=0), 0] > 0

    def to(self, device: torch.device) -> Self:
        """As `Similarity` says."""
        return type(self)(self.codes.to(device), self.n_labels)
