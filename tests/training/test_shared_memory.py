"""Gradients averaged in shared memory: over real processes, and when one of them is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .ranks_sharing import TIMEOUT_S

SCRIPT = Path(__file__).with_name("ranks_sharing.py")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    command = [sys.executable, str(SCRIPT), str(tmp_path_factory.mktemp("meetings"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("ranks", [2, 3])
def test_averages_are_means_and_the_same_bits_on_all_ranks(said: dict[str, dict[str, Any]], ranks: int) -> None:
    """Of every length, be it less than there are ranks, or more than fits into the memory at once."""
    of_ranks = list(said[f"averages of {ranks}"].values())
    assert len(of_ranks) == ranks
    assert of_ranks[1:] == of_ranks[:-1]
    largest = {"torch.float32": 1e-6, "torch.float64": 1e-15, "torch.bfloat16": 4e-2}
    assert {name: error < largest[name] for name, (error, _) in of_ranks[0].items()} == dict.fromkeys(largest, True)


@pytest.mark.parametrize(("case", "seconds"), [("one dies", 1), ("one does not come", TIMEOUT_S + 1)])
def test_all_others_fail_when_one_is_lost(said: dict[str, dict[str, Any]], case: str, seconds: float) -> None:
    """As a collective would, which makes ranks look who is missing."""
    for rank in ("0", "2"):
        told = said[case][rank]
        assert told["error"].startswith("averaging gradients in shared memory: ")
        assert told["known"]
        assert told["seconds"] < seconds


def test_where_one_cannot_connect_none_uses_it(said: dict[str, dict[str, Any]]) -> None:
    assert said["one cannot connect"] == {rank: {"opened": False} for rank in "012"}


def test_ddp_averages_with_it(said: dict[str, dict[str, Any]]) -> None:
    """Once a step, after the last of its micro-batches."""
    assert said["under Lightning"] == {rank: {"averages": [0.5, 0.5], "calls": [7, 7]} for rank in "01"}
