"""The threads of a stream, while they live."""

from __future__ import annotations

import threading


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("seqrec-stream")]


def assert_no_workers() -> None:
    """Those that are ending may end first."""
    for thread in workers():
        thread.join(timeout=30)
    assert not workers()
