"""Checkpoints of other people's: no code of theirs runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from seqrec.errors import RunError
from seqrec.training.plain_values import plain_values_only


def test_no_way_of_opening_a_run_runs_code_of_its_checkpoints(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    script = Path(__file__).with_name("poisoned.py")
    done = subprocess.run(
        [sys.executable, script, write_recipe(loggers=[]), tmp_path], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, tuple[str, bool]] = json.loads((tmp_path / "outcomes.json").read_text())
    assert outcomes.pop("unpickled") == ["opened", True]
    for name in ("fsdp2, own", "deepspeed_stage_2, own"):
        assert outcomes.pop(name) == ["opened", False]
    assert len(outcomes) == 15
    for name, (said, ran) in outcomes.items():
        assert not ran, name
        assert re.search(r"(?s)could run code.*refused: +posix\.mkdir\n", said), (name, said)


def test_torchs_switches_are_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    file = tmp_path / "file.pt"
    torch.save({"path": tmp_path}, file)
    with pytest.raises(RunError, match=r"(?s)could run code.*refused: +pathlib\.PosixPath"), plain_values_only(file):
        torch.load(file, weights_only=False)
    assert torch.load(file) == {"path": tmp_path}
    assert os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD") is None
