"""Runs the `seqrec` command as a user would, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def seqrec(*arguments: str | Path, cwd: Path, check: bool = True, threads: int = 1) -> subprocess.CompletedProcess[str]:
    """The finished process, its output as text; raises AssertionError with the output where ``check`` fails."""
    return run(
        [sys.executable, "-m", "seqrec", *map(str, arguments)], cwd=cwd, check=check, OMP_NUM_THREADS=str(threads)
    )


def run(command: list[str], *, cwd: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """As `seqrec`, for any command; ``environment`` is added to this process's own."""
    changed = os.environ | environment
    done = subprocess.run(command, cwd=cwd, env=changed, capture_output=True, text=True, timeout=300)
    if check:
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done
