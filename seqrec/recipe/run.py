"""Run folders: where a recipe's training lives, and the trained model in the end.

runs/NAME/recipe.yaml      the resolved recipe
          run.id           names the run to loggers, over restarts
          checkpoints/     step-N, to continue from and for the result
          csv/ …           what the loggers write
          result.json      written when training has ended
          evaluation-test.json, users-test.parquet   metrics, and the rank of each user's target
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from seqrec.errors import RunError
from seqrec.models import RankingModel
from seqrec.recipe.build import RUN_ID, build_data, build_recipe_model, history_text, item_features
from seqrec.recipe.load import dump_recipe, parse_recipe
from seqrec.recipe.schema import Recipe
from seqrec.stream import SequenceDataModule
from seqrec.training import VALIDATION_PREFIX, SavedCheckpoint, best_of, load_weights, newest_whole, read_state

# what may change between two starts of one run: where it runs and what it shows, not what it computes
_SAVING = {"selection.save_every_steps", "selection.keep", "selection.save_in_background"}
_FREE = frozenset({"loggers", "faults", "data.cache", "data.length_buckets", "data.prefetch_threads"} | _SAVING) | {
    f"trainer.{name}"
    for name in ("accelerator", "devices", "num_nodes", "strategy", "enable_progress_bar", "log_every_n_steps")
}


class Run:
    """One run folder.

    Args:
        folder: runs/NAME.
        store: another store than the recipe's, as where it was moved; None for the recipe's.
    """

    def __init__(self, folder: str | Path, *, store: str | Path | None = None):
        self.folder = Path(folder)
        self._store = store

    @classmethod
    def open(cls, folder: str | Path, *, store: str | Path | None = None) -> Run:
        """An existing run.

        Raises:
            RunError: no run there.
        """
        run = cls(folder, store=store)
        if not run._recipe_file.is_file():
            raise RunError("not a run folder", where=str(folder), do="train one with `seqrec fit RECIPE`")
        return run

    @staticmethod
    def exists(folder: str | Path) -> bool:
        """Whether a folder holds a run."""
        return Run(folder)._recipe_file.is_file() and (Path(folder) / "checkpoints").is_dir()

    @property
    def _recipe_file(self) -> Path:
        return self.folder / "recipe.yaml"

    @property
    def result_file(self) -> Path:
        """Where `fit` leaves its result."""
        return self.folder / "result.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.folder / "checkpoints"

    @property
    def last(self) -> SavedCheckpoint:
        """The newest whole checkpoint.

        Raises:
            RunError: there is none yet, or all are damaged.
        """
        return self._found(newest_whole(self.checkpoints), do="let `seqrec fit` save one")

    @property
    def best(self) -> SavedCheckpoint:
        """The checkpoint of the best validation, which is the run's result; of a refit the last one.

        Raises:
            RunError: there is none yet, or it is damaged.
        """
        split = self.recipe.data.split
        if split.kind == "leave_one_out" and split.refit:
            return self.last
        return self._found(best_of(self.checkpoints), do="let `seqrec fit` reach a validation")

    def _found(self, checkpoint: SavedCheckpoint | None, *, do: str) -> SavedCheckpoint:
        if checkpoint is None:
            raise RunError("no checkpoint yet", where=str(self.folder), do=do)
        return checkpoint

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return parse_recipe(yaml.safe_load(self._recipe_file.read_text()), where=str(self._recipe_file))

    @property
    def result(self) -> dict[str, Any] | None:
        """What `fit` wrote when training ended; None before."""
        return json.loads(self.result_file.read_text()) if self.result_file.is_file() else None

    @property
    def best_validation(self) -> float | None:
        """The best value of the metric that selects; None before training has ended, and where nothing validated it."""
        best = (self.result or {}).get("best")
        return None if best is None else float(best[VALIDATION_PREFIX + self.recipe.selection.metric])

    @cached_property
    def data(self) -> SequenceDataModule:
        """The store with the recipe's split, as the run saw it."""
        changes: dict[str, Any] = {} if self._store is None else {"store": str(self._store)}
        return build_data(self.recipe, **changes)

    @cached_property
    def model(self) -> RankingModel:
        """The trained model: the best checkpoint's weights, in evaluation mode.

        Raises:
            RunError: no checkpoint yet, or the store's catalogue is not the one that was trained on.
        """
        checkpoint = read_state(self.best.state)
        catalogue = self.data.store.catalogue
        if checkpoint[SequenceDataModule.__qualname__]["catalogue"] != catalogue.fingerprint:
            raise RunError(
                f"its catalogue of {len(catalogue):,} items is not the one that the run was trained on",
                where=str(self.data.store.path),
                do="give the store of the run with `--store`",
            )
        steps = checkpoint["seqrec"]["total_steps"]
        model = build_recipe_model(
            self.recipe,
            self.data.store,
            total_steps=steps,
            features=item_features(self.recipe, self.data),
            text=history_text(self.recipe, self.data),
            users=self.data.user_values,
        )
        load_weights(model, checkpoint)
        return model.eval()

    def evaluation_file(self, part: str) -> Path:
        """Where `seqrec evaluate` leaves its metrics."""
        return self.folder / f"evaluation-{part}.json"

    def user_ranks_file(self, part: str) -> Path:
        """Where it leaves each user's rank."""
        return self.folder / f"users-{part}.parquet"

    def claim(self, recipe: Recipe) -> bool:
        """Makes the folder the recipe's, or sees that it already is.

        Returns:
            Whether it was nobody's before.
        Raises:
            RunError: it holds a run of another recipe.
        """
        if not self._recipe_file.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.folder / RUN_ID, uuid.uuid4().hex)
            write_text(self._recipe_file, dump_recipe(recipe))
            return True
        changes = changed_fields(self.recipe, recipe)
        if changes:
            raise RunError(
                "the folder holds a run of another recipe",
                where=str(self.folder),
                **{f"change {i}": text for i, text in enumerate(changes, start=1)},
                do="give the new run a `name` of its own, or start this one over with `--fresh`",
            )
        return False

    def disclaim(self) -> None:
        """Undoes `claim`; the folder stays where it holds anything else."""
        for file in (self._recipe_file, self.folder / RUN_ID):
            file.unlink()
        with suppress(OSError):
            self.folder.rmdir()


def write_text(path: Path, text: str) -> None:
    """Writes beside the destination and renames, so that a reader never sees half a file."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def changed_fields(old: Recipe, new: Recipe) -> list[str]:
    """What two recipes compute differently, as `dotted.path: old → new`; where and how they run is left out."""
    return list(_differences(old.model_dump(mode="json"), new.model_dump(mode="json")))


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Changed fields as `dotted.path: old → new`, those that may change left out."""
    if path in _FREE:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield f"{path}: {old!r} → {new!r}"
