"""Folders of checkpoints: what makes one whole, which is the newest whole one, and which are kept.

checkpoints/step-120/state           one file; or a folder, where each rank saves its part
                    /complete.json   written last: what the state consists of, with sizes and hashes
            step-160.tmp/            being saved, or left by a process that was killed
            step-140.damaged/        found damaged, and set aside

The order is that of steps; clocks have no say. Nothing here knows what is in a state.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from seqrec.errors import RunError

STATE, COMPLETE = "state", "complete.json"
_NAME = re.compile(r"step-(\d+)")
_PART = re.compile(r"(?:__|.*zero_pp_rank_)(\d+)_")  # __3_0.distcp, bf16_zero_pp_rank_3_mp_rank_00_optim_states.pt
_FORMAT_VERSION = 1
logger = logging.getLogger(__name__)


class Best(NamedTuple):
    """The best validation so far."""

    step: int
    metric: str
    value: float


class SavedFile(NamedTuple):
    """A file of a state, as it was saved."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """What `complete.json` says of a checkpoint.

    Args:
        step: optimiser steps done.
        world_size: ranks that saved it.
        strategy: class of the Lightning strategy that wrote the state.
        best: the best validation up to this step, None before the first.
        files: those of the state, by path below the checkpoint's folder.
    """

    step: int
    world_size: int
    strategy: str
    best: Best | None
    files: dict[str, SavedFile]

    def to_json(self) -> str:
        """As the file holds it."""
        files = {name: file._asdict() for name, file in self.files.items()}
        best = self.best and self.best._asdict()
        return json.dumps({"format_version": _FORMAT_VERSION} | asdict(self) | {"best": best, "files": files}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Reads what `to_json` wrote; raises ValueError, KeyError or TypeError for anything else."""
        values: dict[str, Any] = json.loads(text)
        if (version := values.pop("format_version")) != _FORMAT_VERSION:
            raise ValueError(f"format version {version}, this seqrec reads {_FORMAT_VERSION}")
        best = None if values["best"] is None else Best(**values["best"])
        files = {name: SavedFile(**file) for name, file in values["files"].items()}
        return cls(**values | {"best": best, "files": files})


@dataclass(frozen=True)
class SavedCheckpoint:
    """A folder `step-N`.

    Args:
        folder: where it lies.
    """

    folder: Path

    @property
    def step(self) -> int:
        """N."""
        return int(self.folder.name.removeprefix("step-"))

    @property
    def state(self) -> Path:
        """The file or folder that a strategy loads."""
        return self.folder / STATE

    @cached_property
    def record(self) -> Record:
        """What `complete.json` says; raises OSError, ValueError, KeyError or TypeError where it says nothing."""
        return Record.from_json((self.folder / COMPLETE).read_text(encoding="utf-8"))

    def damage(self, *, hashes: bool = True) -> str | None:
        """What is wrong with it, or None; without ``hashes`` only sizes are compared and no state is read."""
        try:
            files = self.record.files
        except FileNotFoundError:
            return f"no {COMPLETE}"
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"unreadable {COMPLETE} ({error})"
        for name, saved in files.items():
            path = self.folder / name
            size = path.stat().st_size if path.is_file() else None
            if size != saved.size_bytes:
                return f"{name} has {size or 0:,} of {saved.size_bytes:,} bytes"
            if hashes and _sha256(path) != saved.sha256:
                return f"{name} holds other bytes than were saved"
        return None

    def set_aside(self) -> None:
        """Renames it, so that nothing takes it for a checkpoint and it can still be looked at."""
        aside = self.folder.with_name(self.folder.name + ".damaged")
        shutil.rmtree(aside, ignore_errors=True)
        self.folder.rename(aside)


def checkpoints_in(folder: Path) -> list[SavedCheckpoint]:
    """By step; whether they are whole is not looked at."""
    found = [SavedCheckpoint(path) for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def newest_whole(folder: Path, *, hashes: bool = True) -> SavedCheckpoint | None:
    """The whole checkpoint of most steps; damaged ones that are newer are named in a warning.

    Returns:
        None where there are no checkpoints.
    Raises:
        RunError: there are some, and all are damaged.
    """
    damaged = {}
    for checkpoint in reversed(checkpoints_in(folder)):
        damage = checkpoint.damage(hashes=hashes)
        if damage is None:
            return checkpoint
        damaged[checkpoint.folder.name] = damage
        logger.warning("%s is damaged and passed over: %s", checkpoint.folder, damage)
    if damaged:
        raise RunError(
            "all checkpoints are damaged",
            where=str(folder),
            **damaged,
            do="put a whole one back, or start over with `--fresh`",
        )
    return None


def newest_to_continue(folder: Path) -> SavedCheckpoint | None:
    """As `newest_whole`; damaged ones are set aside, as training will save at their steps again."""
    newest = newest_whole(folder)
    if newest is not None:
        for checkpoint in checkpoints_in(folder):
            if checkpoint.step > newest.step:
                checkpoint.set_aside()
    return newest


def best_of(folder: Path) -> SavedCheckpoint | None:
    """The checkpoint of the best validation; None before the first.

    Raises:
        RunError: it is damaged.
    """
    newest = newest_whole(folder, hashes=False)
    if newest is None or newest.record.best is None:
        return None
    best = SavedCheckpoint(folder / f"step-{newest.record.best.step}")
    return check_whole(best)


def check_whole(checkpoint: SavedCheckpoint) -> SavedCheckpoint:
    """The checkpoint itself.

    Raises:
        RunError: it is damaged or not there.
    """
    if (damage := checkpoint.damage()) is not None:
        others = [other.folder.name for other in checkpoints_in(checkpoint.folder.parent) if other != checkpoint]
        raise RunError(
            f"not a whole checkpoint: {damage}",
            where=str(checkpoint.folder),
            others=", ".join(others) or "none",
            do="take another one, or train again with `--fresh`",
        )
    return checkpoint


def begin(folder: Path, step: int) -> Path:
    """Makes an empty folder to save into, and removes those that were left."""
    for left in folder.glob("step-*.tmp"):
        shutil.rmtree(left)
    temporary = folder / f"step-{step}.tmp"
    temporary.mkdir(parents=True)
    return temporary


def written_by(rank: int, temporary: Path) -> dict[str, SavedFile]:
    """Flushes and hashes the files of a state that one rank has written, which its machine still has in memory.

    torch and DeepSpeed write the rank into the names of its parts; all other files are rank 0's.

    Args:
        rank: which.
        temporary: from `begin`, holding at least what the rank has written.
    Returns:
        By path below ``temporary``.
    """
    return {name: _described(path) for name, path in _files(temporary).items() if _writer(path) == rank}


def commit(temporary: Path, record: Record) -> SavedCheckpoint:
    """Makes a checkpoint of what was saved: all is on disk before the name says that it is there.

    Args:
        temporary: from `begin`, holding the state.
        record: with the files that ranks have described; the others are here.
    """
    files = {name: record.files.get(name) or _described(path) for name, path in _files(temporary).items()}
    for path in temporary.rglob("*/"):
        _to_disk(path)
    complete = temporary / COMPLETE
    complete.write_text(replace(record, files=files).to_json() + "\n", encoding="utf-8")
    _to_disk(complete)
    _to_disk(temporary)
    final = temporary.with_name(temporary.name.removesuffix(".tmp"))
    shutil.rmtree(final, ignore_errors=True)  # of the same step, damaged or of a branch that was given up
    temporary.rename(final)
    _to_disk(final.parent)
    return SavedCheckpoint(final)


def prune(folder: Path, keep: int) -> None:
    """Removes all but the ``keep`` newest checkpoints and those that were best to one of them."""
    kept = checkpoints_in(folder)[-keep:]
    steps = {checkpoint.step for checkpoint in kept} | set(_best_steps(kept))
    for checkpoint in checkpoints_in(folder):
        if checkpoint.step not in steps:
            shutil.rmtree(checkpoint.folder)


def _best_steps(checkpoints: Iterable[SavedCheckpoint]) -> Iterable[int]:
    return (checkpoint.record.best.step for checkpoint in checkpoints if checkpoint.record.best is not None)


def _files(temporary: Path) -> dict[str, Path]:
    """Those of a state, by path below its folder."""
    return {path.relative_to(temporary).as_posix(): path for path in sorted(temporary.rglob("*")) if path.is_file()}


def _writer(path: Path) -> int:
    """The rank that has written a file; a guess can only be slow, as whoever describes it reads it."""
    part = _PART.match(path.name)
    return int(part[1]) if part else 0


def _described(path: Path) -> SavedFile:
    _to_disk(path)
    return SavedFile(path.stat().st_size, _sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    """Flushes a file, or a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
