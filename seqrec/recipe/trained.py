"""What was trained, from a run folder or from a bundle: evaluate it, recommend with it, export it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from seqrec.errors import BundleError, RunError, UnsupportedError
from seqrec.evaluation import categories
from seqrec.export import Bundle, Form, History, export_bundle, load_bundle
from seqrec.models import RankingModel, SequenceModel
from seqrec.ranking import Diversifier, Diversity, VectorSimilarity
from seqrec.recipe.build import build_data
from seqrec.recipe.load import dump_recipe, parse_recipe
from seqrec.recipe.run import Run
from seqrec.recipe.schema import Recipe
from seqrec.serving import Recommender
from seqrec.store import SequenceStore
from seqrec.stream import SequenceDataModule

SAMPLE_USERS = 8
HELD_OUT_USERS = 1000


class Trained:
    """A trained model with its recipe and data, from a run or from a bundle.

    Args:
        source: where the model comes from.
        recipe: what it was trained by.
        store: for a bundle, another store than the recipe's; a run says itself which.
    """

    def __init__(self, source: Run | Bundle, recipe: Recipe, *, store: str | Path | None = None):
        self._source = source
        self._store = store
        self.recipe = recipe

    @property
    def model(self) -> RankingModel:
        """In evaluation mode."""
        return self._source.model

    @cached_property
    def data(self) -> SequenceDataModule:
        """Store and split protocol.

        Raises:
            StoreError: the store is not there.
            BundleError: its catalogue is not the one that was trained on.
        """
        if isinstance(self._source, Run):
            return self._source.data
        changes: dict[str, Any] = {} if self._store is None else {"store": str(self._store)}
        data = build_data(self.recipe, users=self.model.user_values, **changes)
        if data.store.catalogue.item_ids != self._source.item_ids:
            raise BundleError(
                "the store's catalogue is not the one that was trained on",
                where=str(data.store.path),
                do="give the store of the run with `--store`",
            )
        return data

    def diversifier(self, text: str) -> Diversifier:
        """What re-ranks the model's lists; by categories it needs the store.

        Args:
            text: as `Diversity.parse` reads it.
        Raises:
            RecipeError: it cannot be read.
            UnsupportedError: the model has no item vectors, or the store no categories.
        """
        wanted = Diversity.parse(text)
        if wanted.by == "vectors":
            if not isinstance(self.model, SequenceModel):
                raise UnsupportedError(
                    "the model has no vectors of items",
                    where=f"--diversify {text}",
                    do=f"go by categories: `{wanted.method}:{wanted.weight:g}:category`",
                )
            return Diversifier(wanted, VectorSimilarity.of(self.model.compared_vectors()))
        labels = categories(self.data)
        if labels is None:
            raise UnsupportedError(
                "the store has no categories",
                where=f"--diversify {text}",
                do="prepare it with a category of each item, or go by item vectors: leave `:category` out",
            )
        return Diversifier(wanted, labels)

    def recommender(self, diversifier: Diversifier | None = None) -> Recommender:
        """Recommends by item_id; from a bundle it needs no store."""
        if isinstance(self._source, Bundle):
            return Recommender.from_bundle(self._source, diversifier=diversifier)
        return Recommender(
            self.model,
            self.data.store.catalogue.item_ids,
            seen=self.recipe.data.split.seen,
            max_length=self.recipe.data.max_length,
            popular=self.data.split.train_counts[1:],
            diversifier=diversifier,
            actions=self.data.store.manifest.actions,
        )

    def histories(self, user_ids: Sequence[str]) -> list[History]:
        """The whole sequences of users of the store, with what the model reads of events.

        Raises:
            UnknownIdError: a user is not in the store.
        """
        rows = self.data.store.rows_of(user_ids, _columns_of(self.model))
        return [_history(self.data.store, rows[user_id], self.model) for user_id in user_ids]


def open_trained(path: str | Path, *, store: str | Path | None = None) -> Trained:
    """Opens a run folder or a bundle.

    Args:
        path: runs/NAME or a bundle's folder.
        store: another store than the recipe's.
    Raises:
        RunError, BundleError: neither, or not whole.
    """
    if not (Path(path) / "bundle.json").is_file():
        run = Run.open(path, store=store)
        return Trained(run, run.recipe)
    bundle = load_bundle(path)
    recipe = parse_recipe(yaml.safe_load(bundle.recipe), where=f"{path}/recipe.yaml")
    return Trained(bundle, recipe, store=store)


def export_run(run: Run, out: str | Path, *, merge: bool = False, forms: Sequence[Form] = ()) -> Path:
    """Exports a run's best checkpoint as a bundle, verified in a fresh process.

    Args:
        run: with a checkpoint.
        out: the bundle's folder.
        merge: merge the adapter into the backbone.
        forms: for other runtimes, whose quality validation users tell, or those of test where a refit has no others.
    Raises:
        RunError: no checkpoint yet.
        BundleError: the bundle does not reproduce the scores, or ``out`` exists.
        MissingExtraError: a form needs a package that is not installed.
    """
    store = run.data.store
    if not store.units:
        raise RunError("the store is empty", where=str(store.path))
    rows = store.read_table(store.units[0], columns=_columns_of(run.model)).slice(0, SAMPLE_USERS).to_pylist()
    evaluation = run.evaluation_file("test")
    return export_bundle(
        out,
        model=run.model,
        settings=run.recipe.model,
        item_ids=store.catalogue.item_ids,
        popular=run.data.split.train_counts[1:],
        seen=run.recipe.data.split.seen,
        max_length=run.recipe.data.max_length,
        recipe_text=dump_recipe(run.recipe),
        metrics=json.loads(evaluation.read_text()) if evaluation.is_file() else None,
        sample_histories=[_of_nobody(_history(store, row, run.model), run.model, n) for n, row in enumerate(rows)],
        actions=store.manifest.actions,
        merge=merge,
        forms=forms,
        held_out=_held_out(run.data),
    )


def _held_out(data: SequenceDataModule) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Users, about a thousand of all lengths: items, lengths, next items; read once they are asked for.

    Those of validation; of a refit, which has trained on their targets, those of test.
    """
    split = data.split.settings
    stream = data.evaluation("test" if split.kind == "leave_one_out" and split.refit else "validation")
    step = max(1, stream.counts.users // HELD_OUT_USERS)
    for batch in stream.loader(0, 1):
        assert batch.targets is not None  # of a part
        n = len(batch.rows)
        yield batch.items[:n:step], batch.lengths[:n:step], batch.targets[::step]


def _columns_of(model: RankingModel) -> list[str]:
    """Columns of the store that a model reads."""
    return ["items", *model.columns, *(model.user_values.columns if model.user_values else [])]


def _of_nobody(history: History, model: RankingModel, number: int) -> History:
    """The history with attributes that are made up: a bundle goes to others, and holds those of no person."""
    values = model.user_values
    if values is None:
        return history
    made_up = {name: known[number % len(known)] for name, known in values.categories.items()}
    made_up |= {name: f"{scale.mean + number % 3 * scale.deviation:g}" for name, scale in values.numbers.items()}
    return replace(history, user=made_up)


def _history(store: SequenceStore, row: dict[str, Any], model: RankingModel) -> History:
    """Of a row as the store has it."""
    names = store.manifest.actions
    actions = [names[code] for code in row["actions"]] if "actions" in row else None
    user = {name: row[name] for name in model.user_values.columns} if model.user_values else None
    return History(store.catalogue.decode(row["items"]), row.get("timestamps"), actions, user)
