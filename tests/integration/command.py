"""Runs the `seqrec` command as a user would, in processes of its own."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

TIMEOUT = 300  # seconds
SCRIPT = Path(__file__).with_name("forked_command.py")
# imports take most of a short command's time: one process has done them, of which commands are forks
_imported = multiprocessing.get_context("forkserver")
_imported.set_forkserver_preload(["seqrec.recipe", "seqrec.evaluation", "seqrec.export", "seqrec.bulk"])


def seqrec(*arguments: str | Path, cwd: Path, check: bool = True, threads: int = 1) -> subprocess.CompletedProcess[str]:
    """The finished process, its output as text; raises AssertionError with the output where ``check`` fails."""
    return _forked([*map(str, arguments)], [{"OMP_NUM_THREADS": str(threads)}], cwd=cwd, check=check)


def on_ranks(
    words: Sequence[str], n: int, *, cwd: Path, check: bool = True, program: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """As `seqrec`, in ``n`` processes that are started as torchrun does it.

    Args:
        words: the arguments.
        n: ranks.
        cwd, check: as of `seqrec`.
        program: what to run in place of the command.
        environment: added to this process's own.
    """
    one_thread = environment | {"OMP_NUM_THREADS": "1"}
    if n == 1:
        return _forked(words, [one_thread], cwd=cwd, check=check, program=program)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(n), "NODE_RANK": "0"}
    ranks = [one_thread | meeting | {"LOCAL_RANK": str(rank)} for rank in range(n)]
    return _forked(words, ranks, cwd=cwd, check=check, program=program)


def run(command: list[str], *, cwd: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """As `seqrec`, for any command; ``environment`` is added to this process's own."""
    changed = os.environ | environment
    done = subprocess.run(command, cwd=cwd, env=changed, capture_output=True, text=True, timeout=TIMEOUT)
    return _checked(done, check=check)


def _forked(
    words: Sequence[str],
    environments: Sequence[dict[str, str]],
    *,
    cwd: Path,
    check: bool,
    program: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """A process for each environment; their outputs one after the other, and the status of the first that failed."""
    end = time.monotonic() + TIMEOUT
    with tempfile.TemporaryDirectory() as name:
        processes, outputs = [], []
        for number, added in enumerate(environments):
            outputs.append([Path(name) / f"{stream}-{number}" for stream in ("stdout", "stderr")])
            given = {"ARGUMENTS": (words, cwd, os.environ | added, outputs[-1], program)}
            processes.append(_imported.Process(target=runpy.run_path, args=(str(SCRIPT), given, "__main__")))
            processes[-1].start()
        for process in processes:
            process.join(max(0, end - time.monotonic()))
            process.kill()  # nothing, unless it took too long
            process.join()
        stdout, stderr = ("".join(file.read_text() for file in files) for files in zip(*outputs, strict=True))
    failed = [process.exitcode for process in processes if process.exitcode]
    return _checked(subprocess.CompletedProcess(["seqrec", *words], *failed[:1] or [0], stdout, stderr), check=check)


def _checked(done: subprocess.CompletedProcess[str], *, check: bool) -> subprocess.CompletedProcess[str]:
    if check:
        assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done
