"""Columns of the catalogue, by what a recipe calls them."""

from __future__ import annotations

import pyarrow as pa

from seqrec.errors import RecipeError, nearest
from seqrec.store import Catalogue

_OF_THE_WHOLE_LOG = ("count", "first_seen", "last_seen")


def column_of(catalogue: Catalogue, name: str, *, setting: str) -> pa.ChunkedArray:
    """A column of the catalogue.

    Raises:
        RecipeError: there is none, where the nearest is named; or it knows of events that are to be predicted.
    """
    if name in _OF_THE_WHOLE_LOG:
        raise RecipeError(
            f"`{name}` is of the whole log, and knows of events that are to be predicted",
            where=setting,
            do="take a column that says what an item is",
        )
    if name in catalogue.table.column_names:
        return catalogue.table.column(name)
    near = nearest(name, catalogue.table.column_names)
    raise RecipeError(
        f"the catalogue has no column `{name}`",
        where=setting,
        has=", ".join(f"`{column}`" for column in catalogue.table.column_names),
        do=f"did you mean `{near}`?" if near else "take one that it has, or name more in `logs.items.columns`",
    )


def texts_of(catalogue: Catalogue, name: str, *, setting: str) -> list[str | None]:
    """The same column's N cells as text, None where there is nothing."""
    texts: list[str | None] = column_of(catalogue, name, setting=setting).cast(pa.string()).to_pylist()
    return texts
