"""Saving through any strategy, so that a checkpoint is whole or not there."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

from seqrec.errors import RunError
from seqrec.training.collectives import group_beside, tell_ranks
from seqrec.training.faults import longest_wait
from seqrec.training.folders import STATE, Best, Record, SavedFile, begin, commit, prune, written_by
from seqrec.training.strategies.fsdp2 import Fsdp2Strategy

logger = logging.getLogger(__name__)


class Saver:
    """Saves the trainer's state as `step-N`, all ranks at once, and between two steps.

    Ranks agree after each stage, as it may fail on one alone, the first to find the disk full: all have written,
    flushed and hashed their part, then rank 0 has recorded the files and given them their name, and only then older
    checkpoints go.

    In the background the stages are the same, in a thread of each rank that works on a copy in the host's memory. Its
    ranks agree in a process group of their own, whose messages cannot meet those of training.

    Args:
        folder: of checkpoints.
        keep: newest checkpoints to keep, beside the best.
        background: whether training goes on while a checkpoint is written; one at a time, and not under DeepSpeed.
    """

    def __init__(self, folder: Path, *, keep: int, background: bool = False):
        self._folder = folder
        self._keep = keep
        self._background = background
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._group: dist.ProcessGroup | None = None

    def save(self, trainer: L.Trainer, *, best: Best | None) -> None:
        """Saves, or in the background begins to.

        Args:
            trainer: between two steps.
            best: the best validation so far.
        Raises:
            RunError: it could not be saved, or in the background the one before; older checkpoints are as they were.
        """
        self.wait()
        step, first = trainer.global_step, trainer.is_global_zero
        temporary = self._folder / f"step-{step}.tmp"
        record = Record(step, trainer.world_size, type(trainer.strategy).__name__, best, files={})
        checkpoint: dict[str, Any] = {}
        files: dict[str, SavedFile] = {}
        group = self._group_of(trainer) if self._background else None
        if isinstance(trainer.strategy, Fsdp2Strategy):
            trainer.strategy.saving_group = group

        def take() -> None:
            # not `Trainer.save_checkpoint`, in which ranks wait for one that has failed
            state = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
            writes = first or isinstance(trainer.strategy, Fsdp2Strategy)
            checkpoint.update(_copied(state) if self._background and writes else state)

        def write_part() -> None:
            trainer.strategy.save_checkpoint(checkpoint, temporary / STATE)
            files.update(written_by(trainer.global_rank, temporary))

        def write() -> None:
            _stage(temporary, lambda: first and begin(self._folder, step), group)
            _stage(temporary, write_part, group)
            for part in tell_ranks(dict(files), group).values():
                files.update(part)
            _stage(temporary, lambda: first and commit(temporary, replace(record, files=files)), group)
            if first:
                prune(self._folder, self._keep)

        _stage(temporary, take)
        if self._background:
            self._begin(write)
        else:
            write()

    def wait(self) -> None:
        """Returns when nothing is being written.

        Raises:
            RunError: what was written in the background could not be saved.
        """
        self._join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def give_up(self) -> None:
        """To be called where training has failed, which must not hide behind what else fails: lets a write end."""
        self._join()
        if self._error is not None:
            logger.error("%s", self._error)

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _begin(self, write: Callable[[], None]) -> None:
        def run() -> None:
            try:
                write()
            except BaseException as error:  # raised where it is waited for
                self._error = error

        # a daemon, as ranks that are lost must not keep this process from ending
        self._thread = threading.Thread(target=run, name="saving", daemon=True)
        self._thread.start()

    def _group_of(self, trainer: L.Trainer) -> dist.ProcessGroup | None:
        if self._group is None:
            self._group = group_beside(longest_wait(trainer))
        return self._group


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    """All of it in memory of its own on the host, as training goes on to change it."""
    stager = DefaultStager(
        StagingOptions(
            use_pinned_memory=False, use_shared_memory=False, use_async_staging=False, use_non_blocking_copy=False
        )
    )
    copied = stager.stage(state)
    stager.close()
    assert isinstance(copied, dict)
    return copied


def _stage(temporary: Path, work: Callable[[], object], group: dist.ProcessGroup | None = None) -> None:
    """Does a part of the work; if it fails on any rank, all of them raise."""
    error: BaseException | None = None
    try:
        work()
    except (Exception, CheckpointException) as caught:  # the second is no Exception
        error = caught
    problems = tell_ranks(None if error is None else _reason(error), group)
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
