"""What ranks tell each other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("ranks_ending.py")


def test_ranks_may_end_while_a_sum_is_under_way(tmp_path: Path) -> None:
    """Where they leave their group to the end of the interpreter, they abort."""
    done = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0] * 4
