"""The kinds of items that a recipe may name."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Tag

from seqrec.errors import UnsupportedError
from seqrec.models.fused_items import FeatureItemsSettings, FusedItems, FusedItemsSettings
from seqrec.models.item_features import ItemFeatures
from seqrec.models.items import IdItemsSettings, ItemAttributes, ItemTable
from seqrec.models.semantic import SemanticItemsSettings
from seqrec.settings import tag_of_kind

ItemsSettings = Annotated[
    Annotated[IdItemsSettings, Tag("ids")]
    | Annotated[SemanticItemsSettings, Tag("semantic_ids")]
    | Annotated[FeatureItemsSettings, Tag("features")]
    | Annotated[FusedItemsSettings, Tag("fused")],
    Discriminator(lambda value: tag_of_kind(value) or "ids"),
]


def build_items(
    settings: IdItemsSettings | FeatureItemsSettings | FusedItemsSettings,
    *,
    n_items: int,
    with_mask: bool,
    attributes: ItemAttributes | None,
    rows: slice | None,
    features: ItemFeatures | None,
) -> ItemTable | FusedItems:
    """Items with fresh weights.

    Args:
        settings: a recipe's `model.items`, where items have vectors.
        n_items: catalogue size N.
        with_mask: whether mask tokens are looked up.
        attributes: values whose vectors are added to a table of ids; None for none.
        rows: of a table of ids, those to make; None for all.
        features: of the items, for kinds that are made of them.
    Raises:
        UnsupportedError: they are needed and not there.
    """
    if isinstance(settings, IdItemsSettings):
        return ItemTable(n_items, settings, with_mask=with_mask, attributes=attributes, rows=rows)
    if features is None:
        raise UnsupportedError(
            "items are made of features, and there is no catalogue to read them from",
            where=f"model.items.kind: {settings.kind}",
            do="set it to `ids`",
        )
    return FusedItems(features, settings, with_mask=with_mask)
