"""A search for the values of a recipe's fields that validate best.

OUT/sweep.yaml         what is searched, and the recipe around it
    journal.log        every trial, as Optuna keeps it
    locks/             which process is at which trial
    runs/NAME-DIGEST   a run folder for each setting
    recipes/, logs/    what each was started with, and what it printed
    best.yaml          the recipe with the best values so far
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock
from optuna.trial import FrozenTrial

from seqrec.errors import RecipeError, RunError
from seqrec.recipe import (
    Recipe,
    check_recipe,
    dump_recipe,
    ensure_store,
    fit_in_process,
    load_recipe,
    write_text,
)
from seqrec.sweep.result import SweepResult, TrialResult
from seqrec.sweep.space import SearchedField, overrides_of, own_values, parse_space
from seqrec.sweep.trials import Trials


def sweep(
    file: str | Path,
    over: Sequence[str],
    out: str | Path,
    *,
    overrides: Sequence[str] = (),
    trials: int = 20,
    say: Callable[[str], None] = print,
) -> SweepResult:
    """Searches the values of a recipe's fields that validate best; the test part is never looked at.

    The recipe's own values are tried first, where they are among those searched; then ten random settings, then those
    of which the tree-structured Parzen estimator expects most (Bergstra et al. 2011, by Optuna). What is proposed
    depends on the recipe's seed and the trials so far alone. Each trial trains in a process of its own. The same call
    goes on where it was interrupted, in the middle of a training too, and one that asks for more trials adds them;
    several at once, on machines that share the folder, divide the trials among themselves.

    Args:
        file: recipe file.
        over: fields with ranges or choices, as `SearchedField.parse` reads them.
        out: folder of the sweep.
        overrides: of the recipe, in every trial.
        trials: settings to try in all, >= 1; fewer where there are no more.
        say: told of each trial.
    Returns:
        What has been found; trials that other processes are still at are not in it.
    Raises:
        RecipeError: the recipe, a field, or one of its ends or choices is wrong.
        RunError: the folder holds another sweep.
        TrainingError: a training ended with an error; the next call makes its trial again.
    """
    search = _Search(Path(out), Path(file), tuple(overrides), parse_space(over))
    search.check()
    search.claim()
    ensure_store(search.recipe)
    made = Trials(search.folder, search.space, seed=search.recipe.seed, first=own_values(search.recipe, search.space))
    while True:
        with made.take(trials) as trial:
            if trial is None:
                return search.result(made)
            begun = time.monotonic()
            value, note = search.train(trial.params)
            made.tell(trial, value, note=note, seconds=round(time.monotonic() - begun, 1))
        result = search.result(made)
        search.write_best(result)
        say(_line(result, search.name(trial.params), trials))


def _line(result: SweepResult, name: str, trials: int) -> str:
    own = next(trial for trial in result.trials if trial.name == name)
    found = own.note if own.value is None else f"{result.metric} {own.value:.4f}"
    best = f", best {result.best.value:.4f}" if result.best else ""
    return f"[{len(result.trials)}/{trials}] {own.text}: {found}, {own.seconds:.0f} s{best}"


@dataclass(frozen=True)
class _Search:
    """A recipe with fields that are searched.

    Attributes:
        folder: of the sweep.
        file: of the recipe.
        overrides: of the recipe, in every trial.
        space: the fields.
    """

    folder: Path
    file: Path
    overrides: tuple[str, ...]
    space: tuple[SearchedField, ...]

    @cached_property
    def recipe(self) -> Recipe:
        """As it is without any trial."""
        return load_recipe(self.file, self.overrides)

    def check(self) -> None:
        """Sees that the recipe, and each end or choice alone in it, is right."""
        ends = [f"{field.path}={text}" for field in self.space for text in field.ends]
        for recipe in (self.recipe, *(load_recipe(self.file, [*self.overrides, end]) for end in ends)):
            check_recipe(recipe)
            split = recipe.data.split
            if split.kind == "leave_one_out" and split.refit:
                raise RecipeError(
                    "a refit has no validation to search by", where="data.split.refit", do="set it to false"
                )

    def claim(self) -> None:
        """Makes the folder this sweep's, or sees that it is.

        Raises:
            RunError: it is another one's.
        """
        about = {"over": [str(field) for field in self.space], "recipe": yaml.safe_load(dump_recipe(self.recipe))}
        file = self.folder / "sweep.yaml"
        (self.folder / "locks").mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "locks" / "sweep.lock"):
            if not file.is_file():
                write_text(file, yaml.safe_dump(about, sort_keys=False, allow_unicode=True))
                return
        if (held := yaml.safe_load(file.read_text())) != about:
            raise RunError(
                "the folder holds another sweep",
                where=str(self.folder),
                searched="; ".join(held["over"]),
                asked="; ".join(about["over"]),
                do="give the new sweep a folder of its own with `--out`; its recipe and fields lie in sweep.yaml",
            )

    def name(self, values: Mapping[str, Any]) -> str:
        """Of a setting's run: the recipe's with a digest of the values."""
        digest = hashlib.blake2b("\n".join(sorted(overrides_of(values, self.space))).encode(), digest_size=4)
        return f"{self.recipe.name}-{digest.hexdigest()}"

    def recipe_of(self, values: Mapping[str, Any], name: str) -> Recipe:
        """The recipe of a setting."""
        return load_recipe(self.file, [*self.overrides, *overrides_of(values, self.space), f"name={name}"])

    def train(self, values: Mapping[str, Any]) -> tuple[float | None, str]:
        """Best validation of a setting, or why it has none."""
        try:
            recipe = self.recipe_of(values, self.name(values))
            check_recipe(recipe)
            run = fit_in_process(recipe, self.folder)
        except RecipeError as error:  # values that are right one by one
            return None, str(error).splitlines()[0]
        if run is None:
            return None, "the loss is not finite"
        return run.best_validation, ""

    def result(self, made: Trials) -> SweepResult:
        """What has been found."""
        found = sorted(map(self._told, made.ended()), key=lambda trial: (trial.value is None, -(trial.value or 0)))
        return SweepResult(
            recipe=self.recipe.name,
            metric=self.recipe.selection.metric,
            fields={field.path: str(field) for field in self.space},
            logarithmic=[field.path for field in self.space if field.logarithmic],
            trials=found,
            importances=made.importances(),
        )

    def _told(self, trial: FrozenTrial) -> TrialResult:
        return TrialResult(name=self.name(trial.params), values=trial.params, value=trial.value, **trial.user_attrs)

    def write_best(self, result: SweepResult) -> None:
        """Writes best.yaml, whose run has a name of its own."""
        if result.best is not None:
            best = self.recipe_of(result.best.values, f"{self.recipe.name}-best")
            write_text(self.folder / "best.yaml", dump_recipe(best))
