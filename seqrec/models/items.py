"""Item representations: item indices to vectors, and the table that scores are taken against."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from seqrec.settings import Settings

PAD = 0
MASK = -1


class IdItemsSettings(Settings):
    """One trainable vector an item."""

    kind: Literal["ids"] = "ids"
    width: int = Field(default=64, ge=1, description="Width D of the item vectors.")
    init_std: float = Field(default=0.02, gt=0, description="Standard deviation of the initial vectors.")


class ItemTable(nn.Module):
    """The trainable table of item vectors, which is both the input and the output table.

    It has no padding row: item i is row i - 1, so that the catalogue can grow at its end. The mask token is a
    parameter of its own.

    Args:
        n_items: catalogue size N.
        settings: width and initialisation.
        with_mask: whether the head puts mask tokens into its inputs.

    Attributes:
        row_gradients: whether the table's gradient is sparse, with the rows that were looked up only.
    """

    row_gradients = False

    def __init__(self, n_items: int, settings: IdItemsSettings, *, with_mask: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_items, settings.width))
        nn.init.normal_(self.weight, std=settings.init_std)
        self.mask = nn.Parameter(torch.randn(settings.width) * settings.init_std) if with_mask else None

    @property
    def n_items(self) -> int:
        """Catalogue size N."""
        return len(self.weight)

    @property
    def width(self) -> int:
        """Width D of the vectors."""
        return self.weight.shape[1]

    def forward(self, items: Tensor) -> Tensor:
        """Vectors of items.

        Args:
            items: int64 (B, L), 1..N, PAD or MASK. What a PAD yields must not be read.
        Returns:
            float (B, L, D).
        """
        vectors = F.embedding((items - 1).clamp(min=0), self.weight, sparse=self.row_gradients)
        if self.mask is None:
            return vectors
        return torch.where((items == MASK).unsqueeze(-1), self.mask, vectors)
