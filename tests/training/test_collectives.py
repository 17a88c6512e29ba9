"""What ranks tell each other."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.integration.command import run


def test_ranks_may_end_while_a_sum_is_under_way(tmp_path: Path) -> None:
    """Where they leave their group to the end of the interpreter, they abort."""
    ranks = Path(__file__).with_name("ranks_ending.py")
    done = run([sys.executable, str(ranks), str(tmp_path)], cwd=tmp_path)
    assert json.loads(done.stdout) == [0] * 4
