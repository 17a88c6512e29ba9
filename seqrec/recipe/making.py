"""What several processes may find missing, and one of them makes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from seqrec.errors import RunError
from seqrec.recipe.processes import is_first_process, launched
from seqrec.recipe.waiting import acquired
from seqrec.store import is_local, locate

_WAIT_SECONDS = 3600


def make_once(make: Callable[[], object], there: Callable[[], bool], path: str, *, do: str) -> None:
    """Makes what is missing, once, whoever else of this host or of this training wants it.

    Args:
        make: makes it.
        there: whether it is there.
        path: where.
        do: what to do if rank 0 does not make it.
    Raises:
        RunError: rank 0 has not made it within an hour.
        Others: as ``make``.
    """
    if there():
        return
    if is_first_process():
        with _alone(path):
            if not there():
                make()
        return
    deadline = time.monotonic() + _WAIT_SECONDS
    while not there():
        if time.monotonic() > deadline:
            raise RunError(f"rank 0 has not made it within {_WAIT_SECONDS} s", where=path, do=do)
        time.sleep(1)


@contextmanager
def _alone(path: str) -> Iterator[None]:
    """Keeps other programs of this host from making the same.

    Not under a launcher, which may start rank 0 elsewhere while the one before is still ending, and not at a URL.
    """
    place = locate(path)
    if launched() is not None or not is_local(place):
        yield
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = str(place.parent / f".{place.name}.lock")
    with acquired(lock, waiting=f"another program makes {place}; waiting for it"):
        yield
