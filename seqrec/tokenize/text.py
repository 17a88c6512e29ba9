"""Item vectors from text."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from seqrec.features import TextEncoder, column_of
from seqrec.store import Catalogue
from seqrec.tokenize.settings import TextVectorSettings


def item_texts(catalogue: Catalogue, columns: Sequence[str]) -> list[str]:
    """N texts, what the columns say one after another; empty where they say nothing.

    Raises:
        RecipeError: the catalogue has no such column.
    """
    parts = [column_of(catalogue, name, setting="tokenizer.vectors: columns").to_pylist() for name in columns]
    return [". ".join(str(one).replace("|", ", ") for one in row if one) for row in zip(*parts, strict=True)]


def text_vectors(texts: Sequence[str], settings: TextVectorSettings) -> Tensor:
    """float32 (n, D), of unit length; see `TextEncoder`.

    Raises:
        BackboneError: no encoder with a tokenizer can be loaded from the source.
    """
    return TextEncoder(settings.source, settings.max_tokens)(texts)
