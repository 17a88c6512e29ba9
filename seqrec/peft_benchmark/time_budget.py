"""How long each method trains: an equal time, in the steps that it takes in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from seqrec.errors import TrainingError, UnsupportedError
from seqrec.peft_benchmark.experiments import Experiment
from seqrec.recipe import Recipe, fit_in_process, logged_rows, write_text

_TRIAL = 32  # steps
_LOGGED = 8  # steps from one line of the log to the next
VALIDATIONS = 4  # in each training


def check_time_budget(recipe: Recipe) -> None:
    """Sees that the time of a step means something.

    Raises:
        UnsupportedError: training takes more than one device.
    """
    devices, nodes = recipe.trainer.get("devices", 1), recipe.trainer.get("num_nodes", 1)
    if devices not in (1, "1", "auto") or nodes != 1:
        raise UnsupportedError(
            "budgets of time are for trainings on one device each",
            where=f"trainer: devices {devices}, num_nodes {nodes}",
            do="set both to 1 and start the command several times, or compare by `--parameters`",
        )


def within_time(experiment: Experiment, minutes: float, lr: float, seed: int, folder: Path) -> Experiment:
    """The experiment with as many steps as it takes in a time, and validations evenly among them.

    The speed is that of the first steps of a training, which is told apart by its name and measured once. Validations
    take no part in the time.

    Args:
        experiment: trained for the recipe's length so far.
        minutes: of training.
        lr: of the training whose speed is measured.
        seed: of the same.
        folder: of the benchmark; gets speeds/NAME.json.
    Raises:
        TrainingError: the loss is not finite from the beginning.
    """
    trial = experiment.run(lr, seed)
    seconds = _seconds_of_a_step(trial.model_copy(update={"name": f"{experiment.name}-speed"}), folder)
    a_part = max(1, round(minutes * 60 / seconds / VALIDATIONS))
    return replace(experiment, recipe=_limited(experiment.recipe, a_part * VALIDATIONS, a_part))


def _limited(recipe: Recipe, steps: int, validation: int) -> Recipe:
    trainer = recipe.trainer | {
        "max_epochs": -1,
        "log_every_n_steps": min(steps, _LOGGED),
        "max_steps": steps,
        "devices": 1,
        "check_val_every_n_epoch": None,
        "val_check_interval": validation * recipe.data.partitions,  # Lightning counts micro-batches
    }
    return recipe.model_copy(update={"trainer": trainer})


def _seconds_of_a_step(trial: Recipe, folder: Path) -> float:
    file = folder / "speeds" / f"{trial.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        if not file.is_file():
            short = _limited(trial, _TRIAL, _TRIAL)
            run = fit_in_process(short, folder)
            if run is None:
                raise TrainingError(
                    "the loss is not finite", where=trial.name, do="try smaller learning rates by `--lr`"
                )
            events_per_second = [float(row["tokens/s"]) for row in logged_rows(run.folder) if row.get("tokens/s")]
            # steps hold what they may, but for the last of an epoch
            row = {"seconds_of_a_step": trial.data.step_tokens / events_per_second[-1], "steps": _TRIAL}
            write_text(file, json.dumps(row) + "\n")
        found: float = json.loads(file.read_text())["seconds_of_a_step"]
    return found
