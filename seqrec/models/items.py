"""Item representations: item indices to vectors, and the table that scores are taken against."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from seqrec.settings import Settings

PAD = 0
MASK = -1
# rows; a multiple of 16, in which torch draws normal numbers, so that pieces are what one draw of all would be
_PIECE = 65_536


class IdItemsSettings(Settings):
    """One trainable vector an item."""

    kind: Literal["ids"] = "ids"
    width: int = Field(default=64, ge=1, description="Width D of the item vectors.")
    init_std: float = Field(default=0.02, gt=0, description="Standard deviation of the initial vectors.")
    attributes: list[str] = Field(
        default=[],
        description="Columns of the catalogue, as `category`, whose values have vectors too: the mean over an item's "
        "values is added to its own vector. A cell can hold several, with `|` between.",
    )


class ItemAttributes(NamedTuple):
    """Values that items have, as compressed sparse rows: those of item i are ``values[offsets[i - 1]:offsets[i]]``.

    Attributes:
        values: int64 (M,), 0..n_values - 1.
        offsets: int64 (N + 1,), starting at 0.
        n_values: different values of the whole catalogue.
    """

    values: Tensor
    offsets: Tensor
    n_values: int


class Items(nn.Module):
    """What a model looks items up in.

    Attributes:
        n_items: catalogue size N.
        weight: the trainable vectors, float (rows, D).
    """

    n_items: int
    weight: nn.Parameter

    @property
    def width(self) -> int:
        """Width D of the vectors."""
        return self.weight.shape[1]

    @property
    def size(self) -> int:
        """Parameters of the whole table, wherever its rows lie."""
        return self.weight.numel()


class ItemTable(Items):
    """The trainable table of item vectors, which is both the input and the output table.

    It has no padding row: item i is row i - 1, so that the catalogue can grow at its end. The mask token is a
    parameter of its own.

    Args:
        n_items: catalogue size N.
        settings: width and initialisation.
        with_mask: whether the head puts mask tokens into its inputs.
        attributes: values whose vectors belong to items too; None for none.
        rows: those to make, as they would be in the whole table; None for all.

    Attributes:
        attributes: the vectors of the values; None for none.
        row_gradients: whether the table's gradient is sparse, with the rows that were looked up only.
    """

    row_gradients = False

    def __init__(
        self,
        n_items: int,
        settings: IdItemsSettings,
        *,
        with_mask: bool,
        attributes: ItemAttributes | None = None,
        rows: slice | None = None,
    ):
        super().__init__()
        self.n_items = n_items
        self.weight = nn.Parameter(_initial_vectors(n_items, settings, rows or slice(0, n_items)))
        self.mask = nn.Parameter(torch.randn(settings.width) * settings.init_std) if with_mask else None
        self.attributes = None if attributes is None else AttributeTable(attributes, settings)

    @property
    def size(self) -> int:
        """Parameters of the whole table, wherever its rows lie."""
        return self.n_items * self.width

    def vectors(self) -> Tensor:
        """float (N, D): of every item, what its attributes add included."""
        return self.weight if self.attributes is None else self.weight + self.attributes()

    def forward(self, items: Tensor) -> Tensor:
        """Vectors of items.

        Args:
            items: int64 (B, L), 1..N, PAD or MASK. What a PAD yields must not be read.
        Returns:
            float (B, L, D).
        """
        vectors = F.embedding((items - 1).clamp(min=0), self.vectors(), sparse=self.row_gradients)
        if self.mask is None:
            return vectors
        return torch.where((items == MASK).unsqueeze(-1), self.mask, vectors)


class AttributeTable(nn.Module):
    """A trainable vector for each value that items can have.

    Args:
        attributes: which item has which values.
        settings: width and initialisation.
    """

    values: Tensor
    offsets: Tensor

    def __init__(self, attributes: ItemAttributes, settings: IdItemsSettings):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(attributes.n_values, settings.width) * settings.init_std)
        # not in checkpoints: the store has them
        self.register_buffer("values", attributes.values, persistent=False)
        self.register_buffer("offsets", attributes.offsets, persistent=False)

    def forward(self) -> Tensor:
        """float (N, D): for each item the mean over the vectors of its values, zero where it has none."""
        return F.embedding_bag(self.values, self.weight, self.offsets, mode="mean", include_last_offset=True)


def _initial_vectors(n_items: int, settings: IdItemsSettings, rows: slice) -> Tensor:
    """Some rows of a random table, for whose other rows there may be no room."""
    found = torch.empty(rows.stop - rows.start, settings.width)
    for start in range(0, max(n_items - _PIECE, 0) + 1, _PIECE):
        stop = start + _PIECE if n_items - start >= 2 * _PIECE else n_items  # torch draws few numbers otherwise
        piece = torch.empty(stop - start, settings.width).normal_(std=settings.init_std)
        first, last = max(start, rows.start), min(stop, rows.stop)
        if first < last:
            found[first - rows.start : last - rows.start] = piece[first - start : last - start]
    return found
