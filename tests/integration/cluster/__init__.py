"""Tests on clusters that this machine plays: a real Slurm, and hosts that are network namespaces.

SEQREC_REQUIRE names those that must be there, as `slurm,hosts`; elsewhere the tests skip, with the reason.
"""

from __future__ import annotations

import os

import pytest


def require(cluster: str, lacking: str | None) -> None:
    """Skips where something is lacking, or fails where the environment says that it must not."""
    if lacking is None:
        return
    if cluster in os.environ.get("SEQREC_REQUIRE", "").split(","):
        pytest.fail(lacking)
    pytest.skip(lacking)
