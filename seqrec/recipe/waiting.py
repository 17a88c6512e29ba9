"""Locks that say whom they wait for."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)


def acquired(file: str, *, waiting: str, seconds: float = -1) -> AbstractContextManager[object]:
    """A lock file, held until the context that this returns is left.

    Args:
        file: the lock's.
        waiting: what to say, before waiting, where another process has it.
        seconds: how long to wait; below 0 without end.
    Raises:
        Timeout: another process still has it.
    """
    lock = FileLock(file)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        logger.warning(waiting)
        return lock.acquire(timeout=seconds)
