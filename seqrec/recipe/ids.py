"""Whether semantic ids belong to the store and the split of a recipe."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from seqrec.errors import TokenizerError
from seqrec.models import SemanticItemsSettings
from seqrec.recipe.schema import Recipe
from seqrec.store import SequenceStore
from seqrec.stream import SequenceDataModule
from seqrec.tokenize import REPORT_FILE

CATALOGUE = "catalogue"
TRAINED_ON = "trained_on"


def trained_on(data: SequenceDataModule) -> str:
    """SHA-256 of the training events of each item, which tells one split from another."""
    return hashlib.sha256(data.split.train_counts.tobytes()).hexdigest()


def check_catalogue(recipe: Recipe, store: SequenceStore) -> None:
    """Sees that the recipe's semantic ids, if any, are those of the store's items.

    Raises:
        TokenizerError: there are none, or they are of another catalogue.
    """
    facts = _facts(recipe)
    if facts is not None and facts[CATALOGUE] != store.catalogue.fingerprint:
        raise TokenizerError(
            "the semantic ids are of another catalogue",
            where="model.items.codes",
            do="name another folder there, and make the ids of this store with `seqrec tokenize RECIPE`",
        )


def check_trained_on(recipe: Recipe, data: SequenceDataModule) -> None:
    """Sees that the ids know no event that is not trained on.

    Raises:
        TokenizerError: they were made from the events of another split.
    """
    facts = _facts(recipe)
    if facts is not None and facts[TRAINED_ON] not in (None, trained_on(data)):
        raise TokenizerError(
            "the semantic ids were made from another split's training events, and may know what is to be predicted",
            where="model.items.codes",
            do="name another folder there, and make the ids of this split with `seqrec tokenize RECIPE`",
        )


def _facts(recipe: Recipe) -> dict[str, Any] | None:
    if not isinstance(recipe.model.items, SemanticItemsSettings):
        return None
    file = Path(recipe.model.items.codes) / REPORT_FILE
    try:
        facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {name: facts[name] for name in (CATALOGUE, TRAINED_ON)}
    except (OSError, ValueError, KeyError) as error:
        raise TokenizerError.unreadable(file, error) from error
