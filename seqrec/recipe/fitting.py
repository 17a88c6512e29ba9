"""Training a recipe in its run folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import lightning as L
from filelock import Timeout
from peft import PeftModel

from seqrec.errors import RunError, SeqrecError
from seqrec.models import ParameterCounts, RankingModel, rank_pattern
from seqrec.recipe.build import Parts, build, check_recipe
from seqrec.recipe.processes import is_first_process, is_restart, launched, place
from seqrec.recipe.run import Run, write_text
from seqrec.recipe.schema import Recipe
from seqrec.recipe.stores import ensure_store
from seqrec.recipe.tokenize import ensure_ids
from seqrec.recipe.waiting import acquired
from seqrec.training import (
    KeepCheckpoints,
    RankWatch,
    SavedCheckpoint,
    TrainingTime,
    check_can_continue,
    checkpoints_in,
    newest_to_continue,
)
from seqrec.versions import versions

_WAIT_SECONDS = 120  # a network file system may take as long to notice that a machine is gone, and its lock with it


def fit(recipe: Recipe, *, runs: str | Path = "runs", fresh: bool = False) -> Run:
    """Trains a recipe in its run folder, or continues there, or finds it done.

    Args:
        recipe: what to train.
        runs: parent of run folders.
        fresh: throws away what the folder holds, once the recipe is known to fit.
    Raises:
        RunError: the folder holds a run of another recipe, or another process trains there.
        LaunchError, RecipeError, LogError, StoreError and others: before training starts; the folder is as it was.
        TrainingError: a rank is lost, or a loss is not finite.
        PreemptedError: told to stop by SIGTERM or SIGUSR1; what was done is saved.
    """
    place(recipe.trainer)
    check_recipe(recipe)
    run = Run(Path(runs) / recipe.name)
    fresh = fresh and not is_restart()
    # a launcher starts rank 0 elsewhere while the one before, on a host that is cut off, may still be ending
    with _alone(run) if is_first_process() and launched() is None else nullcontext():
        ensure_store(recipe)
        ensure_ids(recipe)
        with _claimed(run, recipe, fresh=fresh) if is_first_process() else nullcontext():
            if run.result is not None and not fresh:
                return run
            parts = build(recipe, run.folder)
        counts = parts.module.model.parameter_counts()  # while weights are whole
        # under a launcher this process may be ahead of rank 0, which has yet to empty the folder
        _train(parts, None if fresh else _to_continue(run, parts.trainer))
        if parts.trainer.is_global_zero:
            _write_result(run, parts, counts)
    return run


def _alone(run: Run) -> AbstractContextManager[object]:
    """Keeps other trainings out of a run folder, also those that a program started which was then killed."""
    file = _beside(run, "lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    waiting = f"another process is at {run.folder}; waiting for it up to {_WAIT_SECONDS} s"
    try:
        return acquired(str(file), waiting=waiting, seconds=_WAIT_SECONDS)
    except Timeout as error:
        raise RunError(
            "another process trains this run",
            where=str(run.folder),
            do=f"wait for it or stop it, or give this run another `name`; if there is none, remove {file}",
        ) from error


@contextmanager
def _claimed(run: Run, recipe: Recipe, *, fresh: bool) -> Iterator[None]:
    """Makes the folder the recipe's while its parts are built; where that fails, the folder is what it was."""
    replaced = _beside(run, "replaced")
    if fresh and run.folder.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        run.folder.rename(replaced)
    new = run.claim(recipe)
    try:
        yield
    except BaseException:
        if fresh:
            shutil.rmtree(run.folder)
            if replaced.exists():
                replaced.rename(run.folder)
        elif new:
            run.disclaim()
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _beside(run: Run, what: str) -> Path:
    return run.folder.with_name(f".{run.folder.name}.{what}")


def _to_continue(run: Run, trainer: L.Trainer) -> SavedCheckpoint | None:
    """What to go on from: as rank 0 finds it, which the others load too, so that they need only see that there is one.

    Reading all that was saved once a rank to compare its hashes would be a burden on many nodes.
    """
    if is_first_process():
        newest = newest_to_continue(run.checkpoints)
        if newest is not None:
            check_can_continue(newest, trainer)
        return newest
    return next(iter(checkpoints_in(run.checkpoints)), None)


def _train(parts: Parts, checkpoint: SavedCheckpoint | None) -> None:
    trainer = parts.trainer
    watch = next(c for c in trainer.callbacks if isinstance(c, RankWatch))  # type: ignore[attr-defined]
    try:
        trainer.fit(parts.module, parts.data, ckpt_path=None if checkpoint is None else checkpoint.state)
    except Exception as error:
        told = watch.error or _cause(error)
        if told is None:
            raise
        raise told from error


def _cause(error: BaseException) -> SeqrecError | None:
    """What went wrong first: loggers that are closed on a full disk fail as well, and would hide it."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, SeqrecError):
            return link
        link = link.__cause__ or link.__context__
    return None


def _write_result(run: Run, parts: Parts, counts: ParameterCounts) -> None:
    trainer, module = parts.trainer, parts.module
    best = next(callback for callback in trainer.checkpoint_callbacks if isinstance(callback, KeepCheckpoints)).best
    clock = next(c for c in trainer.callbacks if isinstance(c, TrainingTime))  # type: ignore[attr-defined]
    result = {
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "training_seconds": round(clock.seconds, 1),
        "best": None if best is None else {best.metric: best.value},
        "parameters": counts._asdict(),
        "adapter_ranks": _adapter_ranks(module.model),
        "versions": versions(),
    }
    write_text(run.result_file, json.dumps(result, indent=2) + "\n")


def _adapter_ranks(model: RankingModel) -> dict[str, int] | None:
    backbone = model.backbone.model
    return rank_pattern(backbone) if isinstance(backbone, PeftModel) else None
