"""Processes that meet in collectives, for scripts."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from typing import Any


def run_forked(target: Callable[..., None], arguments: Iterable[tuple[Any, ...]]) -> None:
    """Runs a process for each tuple of arguments; where one fails the others are killed, as they would wait for it.

    Raises:
        SystemExit: one has failed.
    """
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=target, args=some) for some in arguments]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        for process in processes:
            process.join(0.2)
        if any(process.exitcode for process in processes):
            for process in processes:
                process.kill()
            raise SystemExit(1)
