"""Item representations: item indices to vectors, and the table that scores are taken against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from seqrec.models.losses import Loss, Negatives, SampledLoss
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
        row_gradients: whether the table's gradient is sparse, with the rows that were looked up only.
    """

    n_items: int
    weight: nn.Parameter
    row_gradients = False

    @property
    def width(self) -> int:
        """Width D of the vectors."""
        return self.weight.shape[1]

    @property
    def size(self) -> int:
        """Parameters of the whole table, wherever its rows lie."""
        return self.weight.numel()

    @property
    def compared(self) -> Tensor | None:
        """bool (N,), the items that a loss compares with each other; None for all."""
        return None

    def start_step(self, key: int) -> None:
        """Takes the key that all is a function of which is drawn once a step, whatever the ranks; nothing here is."""


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
    """

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
        self.weight = nn.Parameter(initial_vectors(n_items, settings, rows or slice(0, n_items)))
        self.mask = nn.Parameter(torch.randn(settings.width) * settings.init_std) if with_mask else None
        self.attributes = None if attributes is None else AttributeTable(attributes, settings)

    @classmethod
    def of(cls, vectors: Tensor, mask: nn.Parameter | None) -> Self:
        """A table that holds vectors, float (N, D), and is not to be trained."""
        made = cls(len(vectors), IdItemsSettings(width=vectors.shape[1]), with_mask=False, rows=slice(0, 0))
        made.weight = nn.Parameter(vectors, requires_grad=False)
        made.mask = mask
        return made

    @property
    def size(self) -> int:
        """Parameters of the whole table, wherever its rows lie."""
        return self.n_items * self.width

    def vectors(self) -> Tensor:
        """float (N, D): row i - 1 is item i's vector, what its attributes add included; of the rows that are here."""
        return self.weight if self.attributes is None else self.weight + self.attributes()

    def forward(self, items: Tensor) -> Tensor:
        """Vectors of items.

        Args:
            items: int64 (B, L), 1..N, PAD or MASK. What a PAD yields must not be read.
        Returns:
            float (B, L, D).
        """
        vectors = F.embedding((items - 1).clamp(min=0), self.vectors(), sparse=self.row_gradients)
        return masked(vectors, items, self.mask)

    def loss(
        self,
        loss: Loss,
        hidden: Tensor,
        targets: Tensor,
        negatives: Negatives | None,
        finish: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """The summed loss over these items.

        Args:
            loss: of hidden vectors and a table.
            hidden: float (T, D).
            targets: int64 (T,), 1..N, or 0 in a row that counts for nothing.
            negatives: those of the step, for a sampled loss.
            finish: makes of item vectors, float (n, D), those that are scored against.
        """
        return loss(hidden, targets, finish(self.vectors()), negatives)

    def use_row_gradients(self, loss: SampledLoss) -> None:
        """Makes the table's gradient sparse, where items are looked up and in a loss."""
        self.row_gradients = loss.row_gradients = True


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


def masked(vectors: Tensor, items: Tensor, mask: Tensor | None) -> Tensor:
    """Vectors float (B, L, D) of items int64 (B, L), with that of the mask token, float (D,), where one stands."""
    return vectors if mask is None else torch.where((items == MASK).unsqueeze(-1), mask, vectors)


def initial_vectors(n_items: int, settings: IdItemsSettings, rows: slice) -> Tensor:
    """Some rows of a random table, for whose other rows there may be no room, float (rows, D)."""
    found = torch.empty(rows.stop - rows.start, settings.width)
    for start in range(0, max(n_items - _PIECE, 0) + 1, _PIECE):
        stop = start + _PIECE if n_items - start >= 2 * _PIECE else n_items  # torch draws few numbers otherwise
        piece = torch.empty(stop - start, settings.width).normal_(std=settings.init_std)
        first, last = max(start, rows.start), min(stop, rows.stop)
        if first < last:
            found[first - rows.start : last - rows.start] = piece[first - start : last - start]
    return found
