"""What a process does that opens a store beside others; a module of its own, as a started process imports all of it."""

from __future__ import annotations

from typing import Any

from seqrec.store import CacheSettings, SequenceStore


def scan(url: str, folder: str, barrier: Any, results: Any) -> None:
    """Opens the store when the others do, and reports all items."""
    store = SequenceStore(url, cache=CacheSettings(folder=folder))
    barrier.wait()
    results.put([part.items.tolist() for part in store.scan()])
