"""Compares run folders: evaluates those that are not yet evaluated, and groups those that differ in their seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqrec.errors import RunError, UnsupportedError
from seqrec.evaluation import ComparedRun, Comparison, EvaluationResult, evaluate, make_group
from seqrec.evaluation.baselines import DEFAULT_BASELINES, BaselineName
from seqrec.evaluation.user_ranks import UserRanks, read_user_ranks, write_user_ranks
from seqrec.recipe.run import Run, changed_fields, write_text
from seqrec.recipe.schema import Recipe
from seqrec.store.split import Part

_OF_THE_MODEL = ("max_length", "list_limit")  # what it sees and can do, not what it is asked


def evaluate_run(
    run: Run,
    part: Part,
    *,
    baselines: Sequence[BaselineName] = DEFAULT_BASELINES,
    devices: int = 1,
    accelerator: str = "auto",
    progress: bool = False,
) -> EvaluationResult | None:
    """Evaluates a run's best checkpoint, and leaves metrics and each user's rank, where users have one, in its folder.

    Args:
        run: the run.
        part: which targets.
        baselines, devices, accelerator, progress: as for `seqrec.evaluation.evaluate`.
    Returns:
        The metrics; None on processes other than the first.
    """
    step = run.best.step
    result = evaluate(
        run.model, run.data, part=part, baselines=baselines, devices=devices, accelerator=accelerator, progress=progress
    )
    if result is not None:
        store = run.data.store
        about = {"checkpoint": step, "store": store.manifest.fingerprint, "protocol": dict(result.protocol)}
        if result.rank_of_user:
            write_user_ranks(run.user_ranks_file(part), store, result.rank_of_user, about)
        write_text(run.evaluation_file(part), json.dumps(result.to_dict(), indent=2) + "\n")
    return result


def compare_runs(
    folders: Sequence[str | Path], *, part: Part = "test", accelerator: str = "auto", progress: bool = False
) -> Comparison:
    """Compares runs on the same users; evaluates those that are not yet evaluated, on one process.

    Args:
        folders: runs/NAME each, at least one; the first one's group is what others are compared with.
        part: which targets.
        accelerator, progress: of the evaluations that are made.
    Raises:
        RunError: a folder is no run, comes twice or is not trained to its end; or stores or protocols differ.
        UnsupportedError: as `check_comparable`.
    """
    runs = [Run.open(folder) for folder in folders]
    for run in runs:
        check_comparable(run.recipe)
    _check(runs, part)
    found = []
    for run in runs:
        ranks = _saved(run, part)
        if ranks is None:
            evaluate_run(run, part, accelerator=accelerator, progress=progress)
            ranks = read_user_ranks(run.user_ranks_file(part))
        found.append(ranks)
    groups: list[list[int]] = []  # places of runs
    for place, run in enumerate(runs):
        same = [group for group in groups if not _changes(runs[group[0]], run)]
        if same:
            same[0].append(place)
        else:
            groups.append([place])
    compared = [[_compared(runs[place], found[place], part) for place in group] for group in groups]
    changes = [_changes(runs[0], runs[group[0]]) for group in groups]
    first, *others = zip(_names(compared), compared, changes, strict=True)
    made = [make_group(name, own, compared[0], changes) for name, own, changes in others]
    return Comparison(_protocol(found[0].about), len(found[0].ranks["model"]), (make_group(*first[:2]), *made))


def check_comparable(recipe: Recipe) -> None:
    """Sees that users of a recipe's runs have ranks, which comparisons pair.

    Raises:
        UnsupportedError: its head judges events.
    """
    if recipe.model.head.kind == "outcome":
        raise UnsupportedError(
            "comparisons pair users by the ranks of their targets, and an outcome is judged event by event",
            where=f"model.head.kind of {recipe.name}",
            do="evaluate each run, and compare what `seqrec evaluate --json` writes",
        )


def _check(runs: Sequence[Run], part: Part) -> None:
    """Before anything is evaluated: whether the runs can be compared at all."""
    first = runs[0]
    wanted = _asked(first, part)
    seen: set[Path] = set()
    for run in runs:
        if run.folder.resolve() in seen:
            raise RunError("the run is given twice", where=str(run.folder), do="name each run once")
        seen.add(run.folder.resolve())
        if run.result is None:
            raise RunError("its training has not ended", where=str(run.folder), do="finish it with `seqrec fit`")
        differ = {
            name: f"{wanted.get(name)} in {first.folder}, {value} here"
            for name, value in _asked(run, part).items()
            if value != wanted.get(name)
        }
        if differ:
            raise RunError(
                f"not evaluated by the protocol of {first.folder}",
                where=str(run.folder),
                **differ,
                do="compare runs of one store and one split protocol",
            )


def _asked(run: Run, part: Part) -> dict[str, Any]:
    return {"store": run.data.store.manifest.fingerprint, "part": part, **run.data.split.describe()}


def _saved(run: Run, part: Part) -> UserRanks | None:
    """What an evaluation has left of the run's best checkpoint, on this store and by this protocol; None without."""
    if not (run.evaluation_file(part).is_file() and run.user_ranks_file(part).is_file()):
        return None
    found = read_user_ranks(run.user_ranks_file(part))
    asked = _protocol(found.about) | {"store": found.about["store"]}
    return found if found.about["checkpoint"] == run.best.step and asked == _asked(run, part) else None


def _protocol(about: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in about["protocol"].items() if name not in _OF_THE_MODEL}


def _compared(run: Run, found: UserRanks, part: Part) -> ComparedRun:
    result: Mapping[str, Any] | None = run.result
    assert result is not None  # checked
    metrics = json.loads(run.evaluation_file(part).read_text(encoding="utf-8"))["model"]
    return ComparedRun(
        name=run.folder.name,
        seed=run.recipe.seed,
        metrics={name: value for name, value in metrics.items() if value is not None},
        ranks=found.ranks["model"],
        seconds=result["training_seconds"],
        epochs=result["epochs"],
        parameters=result["parameters"],
    )


def _changes(run: Run, other: Run) -> list[str]:
    """What computes other weights in the other run, its seed aside."""
    return [change for change in changed_fields(run.recipe, other.recipe) if not change.startswith(("name:", "seed:"))]


def _names(groups: Sequence[Sequence[ComparedRun]]) -> list[str]:
    """The names of runs without their seeds; with them where that would not tell groups apart."""
    names, whole = [], [", ".join(run.name for run in group) for group in groups]
    for group in groups:
        stems = {run.name.removesuffix(f"-seed{run.seed}") for run in group}
        names.append(stems.pop() if len(stems) == 1 and len(group) > 1 else ", ".join(run.name for run in group))
    return [name if names.count(name) == 1 else full for name, full in zip(names, whole, strict=True)]
