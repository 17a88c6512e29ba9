"""The store of a recipe, made where it is missing."""

from __future__ import annotations

from functools import partial

from seqrec.logs import check_settings, prepare
from seqrec.recipe.making import make_once
from seqrec.recipe.schema import Recipe
from seqrec.store import SequenceStore


def ensure_store(recipe: Recipe) -> SequenceStore:
    """The recipe's store, prepared first where it is missing.

    Raises:
        StoreError: it was made with other settings than the recipe's `logs`.
        Others: as `prepare`.
    """
    path, logs = recipe.data.store, recipe.logs
    if logs is None:
        return SequenceStore(path)
    make_once(
        partial(prepare, logs, path),
        partial(SequenceStore.exists, path),
        path,
        do="prepare it before, with `seqrec prepare RECIPE`",
    )
    store = SequenceStore(path)
    check_settings(store, logs)
    return store
