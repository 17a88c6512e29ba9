"""Bulk recommendation that is killed, and goes on with another number of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .command import seqrec


@pytest.fixture
def run(
    write_recipe: Callable[..., Path], recipe_values: dict[str, Any], store_in_small_units: Path, tmp_path: Path
) -> Path:
    """A run over a store of many small windows; its folder is the working folder."""
    data = recipe_values["data"] | {"store": str(store_in_small_units), "window_tokens": 1, "evaluation_tokens": 1}
    seqrec("fit", write_recipe(data=data), "trainer.max_epochs=1", cwd=tmp_path)
    return tmp_path


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def test_a_killed_job_goes_on_with_other_processes_and_gives_the_same_rows(run: Path) -> None:
    seqrec("recommend", "runs/tiny", "--all", "--out", "whole", "-k", "5", cwd=run)
    whole = {part.name: part.read_bytes() for part in parts(run / "whole")}
    assert len(whole) > 10
    kill_after_first_part(run, "killed")
    left = {part.name: part.stat().st_mtime_ns for part in parts(run / "killed")}
    assert 0 < len(left) < len(whole)
    assert not (run / "killed" / "_SUCCESS").exists()
    refused = seqrec("recommend", "runs/tiny", "--all", "--out", "killed", "-k", "6", cwd=run, check=False)
    assert refused.returncode == 1
    assert "k:  5 → 6" in refused.stderr
    done = seqrec("recommend", "runs/tiny", "--all", "--out", "killed", "-k", "5", "--devices", "3", cwd=run)
    assert "killed: 120 users" in done.stderr
    assert {part.name: part.read_bytes() for part in parts(run / "killed")} == whole
    assert {name: (run / "killed" / name).stat().st_mtime_ns for name in left} == left  # what was there was kept
    assert (run / "killed" / "_SUCCESS").read_text() == (run / "whole" / "_SUCCESS").read_text()


def kill_after_first_part(cwd: Path, out: str) -> None:
    """Starts the command on two processes and kills both as soon as a part is there."""
    command = [sys.executable, "-m", "seqrec", "recommend", "runs/tiny", "--all", "--out", out, "-k", "5"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    job = subprocess.Popen(
        [*command, "--devices", "2"], cwd=cwd, env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 240
        while not parts(cwd / out):
            assert job.poll() is None, "ended without a part"
            assert time.monotonic() < deadline
            time.sleep(0.001)
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
