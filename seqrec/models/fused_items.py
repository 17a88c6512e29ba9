"""Items as vectors of what is known of them, alone or fused with a vector of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqrec.errors import RunError, UnsupportedError
from seqrec.models.dropout import keyed_draws, mix
from seqrec.models.item_features import FeatureEncoder, ItemFeatures
from seqrec.models.items import IdItemsSettings, Items, ItemTable, initial_vectors, masked
from seqrec.models.losses import Loss, Negatives, SampledLoss
from seqrec.models.losses.sampled import only_rows
from seqrec.settings import Settings


class CategorySettings(Settings):
    """A categorical attribute."""

    column: str = Field(description="Column of the catalogue.")
    separator: str | None = Field(
        default="|", min_length=1, description="Splits a cell into several values; null: a cell is one value."
    )


class _FeatureSettings(Settings):
    width: int = Field(default=64, ge=1, description="Width D of the item vectors.")
    init_std: float = Field(default=0.02, gt=0, description="Standard deviation of initial vectors.")
    vectors: list[str] = Field(
        default=[], description="Files of precomputed item vectors, as `seqrec embed` writes them."
    )
    categories: list[CategorySettings] = Field(default=[], description="Categorical attributes.")
    numbers: list[str] = Field(default=[], description="Columns of the catalogue that hold numbers.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.vectors or self.categories or self.numbers):
            raise ValueError("name at least one of `vectors`, `categories` and `numbers`")
        return self


class FeatureItemsSettings(_FeatureSettings):
    """Vectors made of an item's features alone: two items with the same features are the same."""

    kind: Literal["features"]


class FusedItemsSettings(_FeatureSettings):
    """A trainable vector an item, fused with its features; an item without training events has the features alone."""

    kind: Literal["fused"]
    fusion: Literal["concat", "gated"] = Field(
        default="gated",
        description="concat: a linear map of both side by side; gated: a sum weighted channel by channel.",
    )
    id_dropout: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="Share of items whose own vector a training step leaves out, so that features alone are learnt.",
    )


class FusedItems(Items):
    """Item vectors that are computed from features and, where there are any, vectors of the items' own.

    They are input and output table alike. Items without training events take no part in the loss, as they would be
    learnt as what nobody wants; when ranking they have vectors of their features alone.

    Args:
        features: of the catalogue.
        settings: with or without vectors of the items' own.
        with_mask: whether the head puts mask tokens into its inputs.

    Attributes:
        weight: float (N, D), the items' own vectors; (1, D), one that all share, where they have none.
        trained: bool (N,), items with training events.
    """

    attributes = None
    trained: Tensor
    fingerprint: Tensor

    def __init__(self, features: ItemFeatures, settings: FeatureItemsSettings | FusedItemsSettings, *, with_mask: bool):
        super().__init__()
        self.n_items = len(features.trained)
        width, init_std = settings.width, settings.init_std
        fused = isinstance(settings, FusedItemsSettings)
        own = IdItemsSettings(width=width, init_std=init_std)
        n_rows = self.n_items if fused else 1
        self.weight = nn.Parameter(initial_vectors(n_rows, own, slice(0, n_rows)))
        self.mask = nn.Parameter(torch.randn(width) * init_std) if with_mask else None
        self.encoder = FeatureEncoder(features, width)
        self.fusion = settings.fusion if isinstance(settings, FusedItemsSettings) else None
        self.join = nn.Linear(2 * width, width) if fused else None
        self._id_dropout = settings.id_dropout if isinstance(settings, FusedItemsSettings) else 0.0
        self._step_key = 0
        self._table: Tensor | None = None  # while nothing is trained
        self.register_buffer("trained", features.trained)
        self.register_buffer("fingerprint", torch.tensor(list(bytes.fromhex(features.fingerprint)), dtype=torch.uint8))

    def forward(self, items: Tensor) -> Tensor:
        """Vectors of items, as `ItemTable.forward`."""
        if self.training or torch.is_grad_enabled():
            rows, place = torch.unique((items - 1).clamp(min=0), return_inverse=True)
            vectors = F.embedding(place, self.of_rows(rows))
        else:
            vectors = F.embedding((items - 1).clamp(min=0), self.vectors())
        return masked(vectors, items, self.mask)

    def of_rows(self, rows: Tensor) -> Tensor:
        """float (n, D), of the items in rows int64 (n,), 0..N-1, different from each other."""
        features: Tensor = self.encoder(rows)
        if self.join is None:
            return features + self.weight
        own = F.embedding(rows, self.weight, sparse=self.row_gradients) * self._keep(rows)
        both = self.join(torch.cat([own, features], dim=1))
        if self.fusion == "concat":
            joined: Tensor = both
            return joined
        return torch.lerp(features, own, both.sigmoid())

    def _keep(self, rows: Tensor) -> Tensor:
        """float (n, 1), 1 where an item's own vector counts."""
        keep = self.trained[rows]
        if self.training and self._id_dropout:
            draws = keyed_draws(mix(rows + self._step_key), torch.Size((len(rows), 1))).squeeze(1)
            keep = keep & (draws >= round(self._id_dropout * 2**16) - 2**15)
        return keep.unsqueeze(1).to(self.weight.dtype)

    @property
    def compared(self) -> Tensor | None:
        """As `Items.compared`."""
        return self.trained

    def start_step(self, key: int) -> None:
        """Whose own vectors a training step leaves out is a function of this key and the item."""
        self._step_key = key

    def vectors(self) -> Tensor:
        """As `ItemTable.vectors`; kept while nothing is trained."""
        if self.training or torch.is_grad_enabled():
            return self.of_rows(torch.arange(self.n_items, device=self.weight.device))
        if self._table is None:
            self._table = self.of_rows(torch.arange(self.n_items, device=self.weight.device))
        return self._table

    def loss(
        self,
        loss: Loss,
        hidden: Tensor,
        targets: Tensor,
        negatives: Negatives | None,
        finish: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """As `ItemTable.loss`, over the items with training events, which targets and negatives must be.

        A sampled loss asks for the vectors of its targets and negatives only.
        """
        if isinstance(loss, SampledLoss) and negatives is not None:
            items, targets, negatives = only_rows(targets, negatives.to(targets.device, self.weight.dtype))
            n_items = int(self.trained.sum())
            of_few: Tensor = loss(hidden, targets, finish(self.of_rows(items - 1)), negatives, n_items=n_items)
            return of_few
        (rows,) = torch.where(self.trained)
        place = F.pad(self.trained.cumsum(0), (1, 0))  # item 0, which counts for nothing, stays 0
        if negatives is not None:
            negatives = negatives._replace(items=place[negatives.items.to(place.device)])
        return loss(hidden, place[targets], finish(self.of_rows(rows)), negatives)

    def use_row_gradients(self, loss: SampledLoss) -> None:
        """As `ItemTable.use_row_gradients`."""
        if self.join is None:
            raise UnsupportedError(
                "items of `kind: features` have no vectors of their own, of which some could be left out",
                where="optimizer.table_updates",
                do="set it to `all`",
            )
        self.row_gradients = True

    @torch.no_grad()
    def as_table(self) -> ItemTable:
        """The vectors that items have when ranking, as a plain table, with the mask: all that serving needs."""
        training = self.training
        vectors = self.eval().vectors().clone()
        self.train(training)
        return ItemTable.of(vectors, self.mask)

    def train(self, mode: bool = True) -> Self:
        """Forgets the table, whose parts may change from here on."""
        self._table = None
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self._table = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        saved = state_dict.get(f"{prefix}fingerprint")
        if saved is not None and not torch.equal(saved.cpu(), self.fingerprint.cpu()):
            raise RunError(
                "the items' features are not those that the model was trained on",
                where="model.items",
                do="put the files of `model.items.vectors`, and the catalogue's attributes, back as they were",
            )
        self._table = None
        super()._load_from_state_dict(state_dict, prefix, *others)
