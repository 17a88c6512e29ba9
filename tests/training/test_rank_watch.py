"""Ranks that are lost: the others say which, and none is left behind."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from .rank_meeting import DIES, HANGS, STOPS

SCRIPT = Path(__file__).with_name("rank_meeting.py")


def test_lost_ranks_are_named_by_all_others(tmp_path: Path) -> None:
    """One that hangs is shown where it hangs, and ends itself; all this within seconds of the time-out."""
    done = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    ranks = json.loads(done.stdout)
    names = {rank: f"rank {rank} (host {socket.gethostname()}, process {pid})" for rank, (pid, *_) in enumerate(ranks)}
    for rank in (0, 3):
        _, ended, said = ranks[rank]
        assert ended == 0
        missing = ", ".join(names[lost] for lost in (HANGS, STOPS, DIES))
        assert f"{missing} did not meet the other ranks" in said
        assert f"rank {HANGS}: stands at" in said
        assert "in reads_for_ever" in said
        assert f"rank {STOPS}: no answer: it has ended or is stopped, or its host is cut off" in said
        assert f"rank {DIES}: its process has ended" in said
    _, ended, said = ranks[HANGS]
    assert ended == 1
    assert f"{names[HANGS]}: the other ranks have given up on this one" in said
    assert "in reads_for_ever" in said
