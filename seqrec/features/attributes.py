"""Values that items have in common, whose vectors are added to those of ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch

from seqrec.errors import RecipeError
from seqrec.features.columns import texts_of
from seqrec.models import ItemAttributes
from seqrec.ranking import label_sets
from seqrec.store import Catalogue

_SETTING = "model.items.attributes"


def read_attributes(columns: Sequence[str], catalogue: Catalogue) -> ItemAttributes:
    """The values of some columns that two items or more have, numbered in the order of the catalogue.

    Args:
        columns: of the catalogue; a cell holds a value, several with `|` between, or none. Equal values of two columns
            are different ones.
        catalogue: of N items.
    Raises:
        RecipeError: no such column, or no value that two items share.
    """
    sets = [label_sets(texts_of(catalogue, column, setting=_SETTING)) for column in columns]
    rows = [
        [(column, value) for column, values in zip(columns, row, strict=True) for value in values]
        for row in zip(*sets, strict=True)
    ]
    counts = Counter(chain.from_iterable(rows))
    number = {value: i for i, value in enumerate(value for value, n in counts.items() if n > 1)}
    if not number:
        raise RecipeError(
            f"no two items share a value of {', '.join(columns)}",
            where=_SETTING,
            do="name columns as `category`, whose values group items",
        )
    shared = [[number[value] for value in row if value in number] for row in rows]
    values = torch.tensor(list(chain.from_iterable(shared)))
    offsets = torch.from_numpy(np.cumsum([0, *map(len, shared)], dtype=np.int64))
    return ItemAttributes(values, offsets, len(number))
