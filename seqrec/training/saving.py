"""Saving through any strategy, so that a checkpoint is whole or not there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import lightning as L
from torch.distributed.checkpoint.api import CheckpointException

from seqrec.errors import RunError
from seqrec.training.collectives import tell_ranks
from seqrec.training.folders import STATE, Best, Record, begin, commit, prune


def save(trainer: L.Trainer, folder: Path, *, best: Best | None, keep: int) -> None:
    """Saves the trainer's state as `step-N`; all ranks at once.

    Ranks agree after each stage, as it may fail on one alone, the first to find the disk full: all have written their
    part, then rank 0 has recorded the files, flushed them and given them their name, and only then older checkpoints
    go.

    Args:
        trainer: between two steps.
        folder: of checkpoints.
        best: the best validation so far.
        keep: newest checkpoints to keep, beside the best.
    Raises:
        RunError: it could not be saved; older checkpoints are as they were.
    """
    step, first = trainer.global_step, trainer.is_global_zero
    temporary = folder / f"step-{step}.tmp"
    record = Record(step, trainer.world_size, type(trainer.strategy).__name__, best, files={})

    def write() -> None:
        # not `Trainer.save_checkpoint`, in which ranks wait for one that has failed
        checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        trainer.strategy.save_checkpoint(checkpoint, temporary / STATE)

    _stage(temporary, lambda: first and begin(folder, step))
    _stage(temporary, write)
    _stage(temporary, lambda: first and commit(temporary, record))
    if first:
        prune(folder, keep)


def _stage(temporary: Path, work: Callable[[], object]) -> None:
    """Does a part of the work; if it fails on any rank, all of them raise."""
    error: BaseException | None = None
    try:
        work()
    except (Exception, CheckpointException) as caught:  # the second is no Exception
        error = caught
    problems = tell_ranks(None if error is None else _reason(error))
    if not problems:
        return
    shutil.rmtree(temporary, ignore_errors=True)
    place = temporary.parent
    free = f"{shutil.disk_usage(place).free / 1e6:,.0f} MB" if place.is_dir() else "no such folder"
    raise RunError(
        "cannot save the checkpoint",
        where=str(temporary.with_suffix("")),
        **{f"rank {rank}": problem for rank, problem in problems.items()},
        free=free,
        do="make room; the same command goes on from the checkpoint before, which is whole",
    ) from error


def _reason(error: BaseException) -> str:
    """The system's own words, where torch's writer hides them behind words of its own."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError):
            return f"{type(link).__name__}: {link}"
        link = link.__cause__ or link.__context__
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
