"""The runs of a benchmark: a learning rate for each experiment by validation, then all seeds with it.

OUT/runs/NAME          run folders
    recipes/NAME.yaml  what each was started with
    logs/NAME.log      what it printed
    rows/NAME.json     its figures, once it has been trained
    speeds/NAME.json   seconds of a step, where all train equally long
    locks/             which process is at which experiment
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from filelock import FileLock, Timeout

from seqrec.errors import TrainingError
from seqrec.peft_benchmark.costs import costs_of, curve_of
from seqrec.peft_benchmark.experiments import Experiment, make_experiments
from seqrec.peft_benchmark.language import forgetting
from seqrec.peft_benchmark.result import BenchmarkResult, ExperimentResult, Protocol, write_result
from seqrec.peft_benchmark.time_budget import check_time_budget, within_time
from seqrec.recipe import (
    Recipe,
    Run,
    check_comparable,
    compare_runs,
    ensure_store,
    evaluate_run,
    fit_in_process,
    write_text,
)
from seqrec.store.split import Part

_PARTS: tuple[Part, ...] = ("validation", "test")
LR_FACTORS = (1 / 3, 1.0, 3.0)  # around the recipe's, where no learning rates are given


def benchmark_peft(
    recipe: Recipe,
    out: str | Path,
    *,
    methods: Sequence[str] | None = None,
    budgets: Sequence[int] = (),
    learning_rates: Sequence[float] = (),
    seeds: Sequence[int] = (1, 2),
    minutes: float | None = None,
    say: Callable[[str], None] = print,
) -> BenchmarkResult | None:
    """Trains and measures methods of fine-tuning on one backbone and one data set.

    Each experiment trains with every learning rate and the first seed, takes the one of the best validation, and trains
    with it once more for each further seed; all for the recipe's number of epochs, or for an equal time. Each training
    is a process of its own. What has been trained is kept: the same call goes on where it was interrupted, and several
    at once, on machines that share the folder, divide the experiments among themselves.

    Args:
        recipe: backbone, data, head, length of training.
        out: folder of the benchmark.
        methods, budgets: as for `make_experiments`.
        learning_rates: to try; empty for the recipe's own, a third of it and three times it.
        seeds: at least one.
        minutes: that each training takes, validations apart (see `within_time`); None for the recipe's length.
        say: told of each run.
    Returns:
        The result; None while other processes are still at work on some experiments.
    Raises:
        TrainingError: no learning rate of an experiment gave a finite loss, or a training ended with another error.
        RunError: the folder holds runs of another recipe.
        UnsupportedError: runs of the recipe cannot be compared, or a time was given for trainings on several devices.
        Others: as `make_experiments`.
    """
    folder = Path(out)
    rates = tuple(learning_rates) or tuple(float(f"{recipe.optimizer.lr * factor:.3g}") for factor in LR_FACTORS)
    seeds = tuple(dict.fromkeys(seeds))
    check_comparable(recipe)
    if minutes is not None:
        check_time_budget(recipe)
    experiments, left_out = make_experiments(recipe, methods, budgets)
    for name in ("rows", "locks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    ensure_store(recipe)
    progress = Progress(folder / "rows", experiments, rates, seeds, say)
    chosen: dict[str, list[Recipe]] = {}
    waiting = experiments
    while waiting:
        taken = []
        for experiment in waiting:
            try:
                with FileLock(folder / "locks" / f"{experiment.name}.lock", timeout=0):
                    own = experiment
                    if minutes is not None:
                        own = within_time(experiment, minutes, rates[0], seeds[0], folder)
                    chosen[experiment.name] = _measure(own, folder, rates, seeds, progress)
                    taken.append(experiment)
            except Timeout:
                pass  # another process is at work on it, and may be done with it after the others
        waiting = [experiment for experiment in waiting if experiment not in taken]
        if not taken:
            say(f"others are at work on {', '.join(experiment.name for experiment in waiting)}; the last one reports")
            return None
    return _collect(recipe, experiments, left_out, chosen, folder, rates, seeds, minutes)


class Progress:
    """Says how many runs all processes have done, and how long the rest takes at the pace since this one began."""

    def __init__(
        self,
        rows: Path,
        experiments: Sequence[Experiment],
        rates: Sequence[float],
        seeds: Sequence[int],
        say: Callable[[str], None],
    ):
        self._files = [
            rows / f"{one.run(rate, seed).name}.json" for one in experiments for rate in rates for seed in seeds
        ]
        self._total, self._say = len(experiments) * (len(rates) + len(seeds) - 1), say
        self._before, self._since = self._done(), time.monotonic()

    def _done(self) -> int:
        return sum(file.is_file() for file in self._files)

    def tell(self, text: str) -> None:
        """Says ``text`` behind the numbers."""
        done, left = self._done(), ""
        if done > self._before:
            minutes = (time.monotonic() - self._since) / (done - self._before) * (self._total - done) / 60
            left = f", about {minutes:.0f} min left"
        self._say(f"[{done}/{self._total}{left}] {text}")


def _measure(
    experiment: Experiment, folder: Path, rates: Sequence[float], seeds: Sequence[int], progress: Progress
) -> list[Recipe]:
    """The runs with the chosen learning rate, one a seed, trained and measured."""
    values = {}
    for rate in rates:
        value = _validation(experiment.run(rate, seeds[0]), folder, progress)
        if value is not None:
            values[rate] = value
    if not values:
        raise TrainingError(
            f"no learning rate of {', '.join(f'{rate:g}' for rate in rates)} gave a finite loss",
            where=experiment.name,
            do="try smaller ones with `--lr`",
        )
    best = max(values, key=lambda rate: values[rate])
    runs = [experiment.run(best, seed) for seed in seeds]
    for recipe in runs[1:]:
        if _validation(recipe, folder, progress) is None:
            raise TrainingError("the loss is not finite", where=recipe.name, do="try smaller learning rates by `--lr`")
    for recipe in runs:
        _complete(recipe, folder)
    return runs


def _validation(recipe: Recipe, folder: Path, progress: Progress) -> float | None:
    """Best validation metric of a run, which is trained unless it has been; None where its loss was not finite."""
    file = folder / "rows" / f"{recipe.name}.json"
    if file.is_file():
        Run(folder / "runs" / recipe.name).claim(recipe)
    else:
        begun = time.monotonic()
        run = fit_in_process(recipe, folder)
        value = None if run is None else run.best_validation
        taken = {"validation": value, "seconds": round(time.monotonic() - begun, 1), "lr": recipe.optimizer.lr}
        write_text(file, json.dumps(taken, indent=2) + "\n")
    row = json.loads(file.read_text())
    progress.tell(_line(recipe, row))
    found: float | None = row["validation"]
    return found


def _line(recipe: Recipe, row: dict[str, Any]) -> str:
    value = "loss not finite" if row["validation"] is None else f"{recipe.selection.metric} {row['validation']:.4f}"
    return f"{recipe.name}: {value}, {row['seconds']:.0f} s"


def _complete(recipe: Recipe, folder: Path) -> None:
    """Evaluates a run, and adds to its row what it costs and what is left of the backbone's ability."""
    file = folder / "rows" / f"{recipe.name}.json"
    row = json.loads(file.read_text())
    if "costs" in row:
        return
    run = Run.open(folder / "runs" / recipe.name)
    for part in _PARTS:
        evaluate_run(run, part, baselines=(), accelerator=recipe.trainer.get("accelerator", "auto"))
    row |= {"costs": costs_of(run), "curve": curve_of(run), "language": forgetting(run)}
    write_text(file, json.dumps(row, indent=2) + "\n")


def _collect(
    recipe: Recipe,
    experiments: Sequence[Experiment],
    left_out: dict[str, str],
    chosen: dict[str, list[Recipe]],
    folder: Path,
    rates: Sequence[float],
    seeds: Sequence[int],
    minutes: float | None,
) -> BenchmarkResult:
    rows = {file.stem: json.loads(file.read_text()) for file in sorted((folder / "rows").glob("*.json"))}

    def mean_validation(experiment: Experiment) -> float:
        return mean(float(rows[run.name]["validation"]) for run in chosen[experiment.name])

    ordered = sorted(experiments, key=mean_validation, reverse=True)
    folders = [folder / "runs" / run.name for experiment in ordered for run in chosen[experiment.name]]
    validation, test = (compare_runs(folders, part=part) for part in _PARTS)  # of what has been evaluated
    found = [
        ExperimentResult.of(
            experiment,
            validation=validation.groups[place],
            test=test.groups[place],
            rows=[rows[run.name] for run in chosen[experiment.name]],
            search={rate: rows[experiment.run(rate, seeds[0]).name]["validation"] for rate in rates},
        )
        for place, experiment in enumerate(ordered)
    ]
    protocol = Protocol(
        recipe=recipe.name,
        metric=recipe.selection.metric,
        epochs=None if minutes is not None else recipe.trainer.get("max_epochs"),
        minutes=minutes,
        seeds=list(seeds),
        learning_rates=list(rates),
        users=test.users,
        seconds=sum(row["seconds"] for row in rows.values()),
        left_out=left_out,
    )
    result = BenchmarkResult(protocol=protocol, experiments=found)
    write_result(folder / "result.json", result)
    return result
