"""Files of vectors and columns of the catalogue to what a model takes."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from seqrec.errors import FeatureError
from seqrec.features.columns import column_of, texts_of
from seqrec.features.vector_files import read_vectors
from seqrec.models import CategorySettings, FeatureItemsSettings, FusedItemsSettings, ItemFeatures
from seqrec.ranking import Labels
from seqrec.store import Catalogue


def read_features(
    settings: FeatureItemsSettings | FusedItemsSettings, catalogue: Catalogue, trained: npt.NDArray[np.bool_]
) -> ItemFeatures:
    """What a recipe says of the items, on the scales that training finds.

    Numbers, and vectors as wholes, are centred and scaled by what they are over the items with training events.

    Args:
        settings: the recipe's `model.items`.
        catalogue: of N items.
        trained: bool (N,), items with training events.
    Raises:
        FeatureError: a file or a column cannot be read, or lacks items.
        RecipeError: the catalogue has no such column.
    """
    digest = hashlib.sha256(np.packbits(trained).tobytes())
    vectors = []
    for path in settings.vectors:
        raw = read_vectors(path, catalogue.item_ids)
        digest.update(raw.tobytes())
        vectors.append(_scaled(torch.from_numpy(raw), trained))
    categories = [_categories(catalogue, one, digest) for one in settings.categories]
    numbers = [_numbers(catalogue, column, trained, digest) for column in settings.numbers]
    return ItemFeatures(
        trained=torch.from_numpy(trained),
        vectors=tuple(vectors),
        categories=tuple(categories),
        numbers=torch.stack(numbers, dim=1) if numbers else torch.zeros(len(catalogue), 0),
        fingerprint=digest.hexdigest(),
    )


def _scaled(vectors: Tensor, trained: npt.NDArray[np.bool_]) -> Tensor:
    """Vectors float (N, V) less their mean, in units of their root mean square length."""
    known = vectors[torch.from_numpy(trained)].double()
    centre = known.mean(0)
    length = (known - centre).square().sum(1).mean().sqrt().clamp(min=1e-12)
    return ((vectors - centre) / length).to(vectors.dtype)


def _categories(catalogue: Catalogue, settings: CategorySettings, digest: hashlib._Hash) -> Labels:
    texts = texts_of(catalogue, settings.column, setting="model.items.categories")
    labels = Labels.of(texts, settings.separator)
    if not labels.n_labels:
        raise FeatureError("no item has a value", where=f"model.items.categories: {settings.column}", do="leave it out")
    digest.update(json.dumps([texts, settings.separator]).encode())
    return labels


def _numbers(catalogue: Catalogue, name: str, trained: npt.NDArray[np.bool_], digest: hashlib._Hash) -> Tensor:
    """float32 (N,): a column in standard deviations from its mean, 0 where an item has no number."""
    where = f"model.items.numbers: {name}"
    column = column_of(catalogue, name, setting=where)
    try:
        values = pc.cast(column, pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise FeatureError(
            "a cell is not a number", where=where, reason=str(error).splitlines()[0], do="repair it, or leave it empty"
        ) from error
    digest.update(values.tobytes())
    known = values[trained & np.isfinite(values)]
    if not len(known):
        raise FeatureError("no item with training events has a number", where=where, do="leave it out")
    scale = known.std() or 1.0
    return torch.from_numpy(np.nan_to_num((values - known.mean()) / scale, posinf=0.0, neginf=0.0).astype(np.float32))
