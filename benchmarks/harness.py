"""What every benchmark shares: what the machine is, and where figures go."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from seqrec.versions import versions

RESULTS = Path(__file__).parent / "results"


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
