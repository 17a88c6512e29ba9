"""What benchmarks share: what the machine is, where figures go, and runs on several processes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from seqrec.quiet import quiet_imports
from seqrec.versions import versions

quiet_imports()

RESULTS = Path(__file__).parent / "results"
RECIPES = Path(__file__).parent.parent / "recipes"


def machine() -> dict[str, Any]:
    """Processor, cores and threads."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def today() -> str:
    """The date that results carry."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def write_result(name: str, figures: dict[str, Any]) -> Path:
    """Writes figures with machine, versions and date to ``results/NAME.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    head = {"date": today(), "machine": machine(), "versions": versions()}
    path.write_text(json.dumps(head | figures, indent=2) + "\n")
    return path


def rows_of_today(name: str, *, fresh: bool) -> list[dict[str, Any]]:
    """The rows of ``results/NAME.json`` that an interrupted benchmark goes on from: today's, at as many threads."""
    path = RESULTS / f"{name}.json"
    if fresh or not path.is_file():
        return []
    figures = json.loads(path.read_text())
    same = figures["date"] == today() and figures["machine"] == machine()
    return figures["rows"] if same else []


def seqrec(*arguments: str, folder: Path, threads: int = 1) -> None:
    """Runs the command in a folder, with so many threads a process."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, "-m", "seqrec", *arguments], cwd=folder, env=environment, check=True)


def on_processes(n: int) -> list[str]:
    """Overrides of a recipe that train it on so many."""
    return [f"trainer.devices={n}", f"trainer.strategy={'ddp' if n > 1 else 'auto'}"]


def train_demo(folder: Path, name: str, processes: int, settings: Sequence[str]) -> Path:
    """Trains the demo's recipe on the simulated log in ``folder/log``, a thread a process; returns the run's folder."""
    paths = [f"name={name}", f"logs.root={folder / 'log'}", f"data.store={folder / 'store'}"]
    seqrec("fit", str(RECIPES / "demo.yaml"), *settings, *on_processes(processes), *paths, folder=folder)
    return folder / "runs" / name


def losses_of(run: Path) -> dict[int, float]:
    """The loss of each step that a run logged."""
    from seqrec.recipe import training_curve  # where needed: most benchmarks, and the tables, need no recipe

    points = training_curve(run, "ndcg@10")
    return {point.step: point.train_loss for point in points if point.train_loss is not None}
