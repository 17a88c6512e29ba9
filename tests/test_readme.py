"""The README's commands and Python, run on a small made-up log."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def write_log(path: Path, users: int = 80) -> None:
    """The README's own lines, then a log in which each item is mostly followed by the next one."""
    rng = np.random.default_rng(0)
    items = ["A17", "-42", *(f"B{number}" for number in range(28))]
    (lines,) = blocks("csv")
    time = 1_700_001_000
    for user in range(users):
        item = int(rng.integers(len(items)))
        for _ in range(int(rng.integers(4, 12))):
            time += 60
            lines += f"u{user},{items[item]},{time},view\n"
            item = (item + 1) % len(items) if rng.random() < 0.9 else int(rng.integers(len(items)))
    path.write_text(lines)


def run(folder: Path, *command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # one thread, as so small a model only waits for the others; logs are where the README has them
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "SEQREC_DATA": ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("readme")
    write_log(path / "events.csv")
    return path


def test_the_commands_run(folder: Path) -> None:
    commands = blocks("bash")
    verbs = re.findall(r"^seqrec (\w+)", "\n".join(commands), re.MULTILINE)
    assert verbs == ["prepare", "fit", "evaluate", "recommend", "export", "recommend"]
    out = run(folder, "bash", "-euo", "pipefail", "-c", "\n".join(commands))
    assert {"model", "baselines"} <= json.loads((folder / "metrics.json").read_text()).keys()
    slates = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert len(slates) == 2
    assert slates[0] == slates[1], "run and bundle recommend the same"


def test_the_python_runs(folder: Path) -> None:
    (program,) = blocks("python")
    out = run(folder, sys.executable, "-c", program)
    assert "item_knn" in out
    assert len(re.findall(r"^\S+ -?\d+\.\d+$", out, re.MULTILINE)) == 5
