"""Runs the `seqrec` command as a user would, in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

TIMEOUT = 300  # seconds
SCRIPT = Path(__file__).with_name("forked_command.py")
# imports take most of a short command's time: one process has done them, of which commands are forks
_imported = multiprocessing.get_context("forkserver")
_imported.set_forkserver_preload(["seqrec.recipe", "seqrec.evaluation", "seqrec.export", "seqrec.bulk"])


def seqrec(*arguments: str | Path, cwd: Path, check: bool = True, threads: int = 1) -> subprocess.CompletedProcess[str]:
    """The finished process, its output as text; raises AssertionError with the output where ``check`` fails."""
    words = [*map(str, arguments)]
    if any("devices" in word for word in words):  # Lightning starts the other ranks by the first one's command line
        return run([sys.executable, "-m", "seqrec", *words], cwd=cwd, check=check, OMP_NUM_THREADS=str(threads))
    with tempfile.TemporaryDirectory() as name:
        outputs = [Path(name) / stream for stream in ("stdout", "stderr")]
        given = {"ARGUMENTS": (words, cwd, threads, dict(os.environ), outputs)}
        process = _imported.Process(target=runpy.run_path, args=(str(SCRIPT), given, "__main__"))
        process.start()
        process.join(TIMEOUT)
        process.kill()  # nothing, unless it took too long
        process.join()
        assert process.exitcode is not None
        stdout, stderr = (output.read_text() for output in outputs)
    return _checked(subprocess.CompletedProcess(["seqrec", *words], process.exitcode, stdout, stderr), check=check)


def run(command: list[str], *, cwd: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """As `seqrec`, for any command; ``environment`` is added to this process's own."""
    changed = os.environ | environment
    done = subprocess.run(command, cwd=cwd, env=changed, capture_output=True, text=True, timeout=TIMEOUT)
    return _checked(done, check=check)


def _checked(done: subprocess.CompletedProcess[str], *, check: bool) -> subprocess.CompletedProcess[str]:
    if check:
        assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done
