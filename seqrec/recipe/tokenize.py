"""Semantic ids from a recipe: the verb `tokenize`, and what `fit` does where ids are missing."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import Tensor

from seqrec.errors import RecipeError, TokenizerError
from seqrec.features import TextEncoder, item_texts
from seqrec.models import SemanticItemsSettings, SequenceModel
from seqrec.recipe.build import build_data
from seqrec.recipe.ids import CATALOGUE, TRAINED_ON, trained_on
from seqrec.recipe.making import make_once
from seqrec.recipe.run import Run
from seqrec.recipe.schema import Recipe
from seqrec.recipe.stores import ensure_store
from seqrec.stream import SequenceDataModule
from seqrec.tokenize import (
    REPORT_FILE,
    CoOccurrenceVectorSettings,
    TextVectorSettings,
    Tokenizer,
    TokenizerReport,
    VectorSettings,
    check_codes,
    check_place,
    co_occurrence_vectors,
    digest,
)
from seqrec.versions import versions


def tokenize(recipe: Recipe, *, fresh: bool = False) -> TokenizerReport:
    """Makes the semantic ids of a recipe's store, into the folder that its model names.

    Args:
        recipe: with a `tokenizer` section, and `model.items.kind: semantic_ids`.
        fresh: throws away the ids that are there.
    Raises:
        RecipeError: the recipe does not say how, or where to.
        TokenizerError: there are ids already, or something else, or too few ids for the items.
        StoreError, BackboneError, RunError: what vectors are made from cannot be read.
    """
    folder = _folder(recipe)
    if recipe.tokenizer is None:
        raise RecipeError(
            "the recipe does not say how to make semantic ids",
            where="tokenizer",
            do="add a `tokenizer` section with `vectors`",
        )
    check_place(folder, replace=fresh)
    ensure_store(recipe)
    data = build_data(recipe)
    settings = recipe.tokenizer
    check_codes(settings.quantizer, data.store.manifest.counts.items)  # vectors may take long
    blocks = [_vectors(one, data) for one in settings.vectors]
    weights = [one.weight for one in settings.vectors]
    tokenizer, report = Tokenizer.train(blocks, settings.quantizer, weights=weights, seed=recipe.seed)
    only_text = all(isinstance(one, TextVectorSettings) for one in settings.vectors)
    facts = {
        CATALOGUE: data.store.catalogue.fingerprint,
        TRAINED_ON: None if only_text else trained_on(data),
        "store": data.store.manifest.fingerprint,
        "split": data.split.describe(),
        "seed": recipe.seed,
        "tokenizer": settings.model_dump(mode="json"),
        "vectors": [digest(block) for block in blocks],
        "report": report.to_dict(),
        "versions": versions(),
    }
    tokenizer.save(folder, facts, replace=fresh)
    return report


def ensure_ids(recipe: Recipe) -> None:
    """Makes the semantic ids that a recipe's model needs, where they are missing and it says how."""
    if not isinstance(recipe.model.items, SemanticItemsSettings) or recipe.tokenizer is None:
        return
    folder = _folder(recipe)
    there = (folder / REPORT_FILE).is_file
    make_once(partial(tokenize, recipe), there, str(folder), do="make the ids before, with `seqrec tokenize RECIPE`")


def _folder(recipe: Recipe) -> Path:
    if not isinstance(recipe.model.items, SemanticItemsSettings):
        raise RecipeError(
            "the recipe's model does not name items by semantic ids",
            where=f"model.items.kind: {recipe.model.items.kind}",
            do="set it to `semantic_ids`, and `model.items.codes` to the folder where the ids shall lie",
        )
    return Path(recipe.model.items.codes)


def _vectors(settings: VectorSettings, data: SequenceDataModule) -> Tensor:
    """float (N, D), of one kind."""
    if isinstance(settings, TextVectorSettings):
        texts = item_texts(data.store.catalogue, settings.template, setting="tokenizer.vectors: template")
        return TextEncoder(settings.source, settings.max_tokens)(texts)
    if isinstance(settings, CoOccurrenceVectorSettings):
        return co_occurrence_vectors(data.training_sequences(), data.store.manifest.counts.items, settings)
    run = Run.open(settings.run)
    where = f"tokenizer.vectors: run: {settings.run}"
    if run.data.store.catalogue.fingerprint != data.store.catalogue.fingerprint or trained_on(run.data) != trained_on(
        data
    ):
        raise TokenizerError(
            "the run was trained on another catalogue or split", where=where, do="name a run of this recipe's data"
        )
    if not isinstance(run.model, SequenceModel):
        raise TokenizerError("the run has no item vectors", where=where, do="name a run with an item table")
    return run.model.compared_vectors().detach().float()
