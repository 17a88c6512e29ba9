"""The store of a recipe, made where it is missing."""

from __future__ import annotations

import time
from collections.abc import Callable

from seqrec.errors import RunError
from seqrec.logs import check_settings, prepare
from seqrec.recipe.processes import is_first_process
from seqrec.recipe.schema import Recipe
from seqrec.store import SequenceStore

_WAIT_SECONDS = 3600


def ensure_store(recipe: Recipe) -> SequenceStore:
    """The recipe's store, prepared first where it is missing.

    Raises:
        StoreError: it was made with other settings than the recipe's `logs`.
        Others: as `prepare`.
    """
    path = recipe.data.store
    if recipe.logs is None:
        return SequenceStore(path)
    if SequenceStore.exists(path):
        store = SequenceStore(path)
        check_settings(store, recipe.logs)
        return store
    if is_first_process():
        return prepare(recipe.logs, path)
    wait_until(lambda: SequenceStore.exists(path), path, do="prepare it before, with `seqrec prepare RECIPE`")
    return SequenceStore(path)


def wait_until(there: Callable[[], bool], path: str, *, do: str) -> None:
    """Waits for rank 0 to make something.

    Args:
        there: whether it has.
        path: where.
        do: what to do if it does not.
    Raises:
        RunError: it has not within an hour.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while not there():
        if time.monotonic() > deadline:
            raise RunError(f"rank 0 has not made it within {_WAIT_SECONDS} s", where=path, do=do)
        time.sleep(1)
