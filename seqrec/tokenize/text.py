"""Item vectors from text."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from seqrec.errors import RecipeError, nearest
from seqrec.features import TextEncoder
from seqrec.store import Catalogue
from seqrec.tokenize.settings import TextVectorSettings


def item_texts(catalogue: Catalogue, columns: Sequence[str]) -> list[str]:
    """N texts, what the columns say one after another; empty where they say nothing.

    Raises:
        RecipeError: the catalogue has no such column.
    """
    for column in columns:
        if column not in catalogue.table.column_names:
            near = nearest(column, catalogue.table.column_names)
            raise RecipeError(
                f"the catalogue has no column `{column}`",
                where="tokenizer.vectors: columns",
                has=", ".join(f"`{name}`" for name in catalogue.table.column_names),
                do=f"did you mean `{near}`?" if near else "name a column of the store's catalogue",
            )
    parts = [catalogue.table.column(column).to_pylist() for column in columns]
    return [". ".join(str(one).replace("|", ", ") for one in row if one) for row in zip(*parts, strict=True)]


def text_vectors(texts: Sequence[str], settings: TextVectorSettings) -> Tensor:
    """float32 (n, D), of unit length; see `TextEncoder`.

    Raises:
        BackboneError: no encoder with a tokenizer can be loaded from the source.
    """
    return TextEncoder(settings.source, settings.max_tokens)(texts)
