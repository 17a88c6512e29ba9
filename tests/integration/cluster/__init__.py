"""Tests on clusters that this machine plays: a real Slurm, and hosts that are network namespaces.

They take minutes, so they run where SEQREC_REQUIRE names them, as `slurm,hosts`, which `.ci/run` does. There they fail
where a cluster cannot start; elsewhere they skip, with the reason.
"""

from __future__ import annotations

import os

import pytest


def require(cluster: str, lacking: str | None) -> None:
    """Lets a test go on, skips it, or fails it."""
    if cluster not in os.environ.get("SEQREC_REQUIRE", "").split(","):
        pytest.skip(lacking or f"takes minutes: SEQREC_REQUIRE={cluster} runs it")
    if lacking is not None:
        pytest.fail(lacking)
