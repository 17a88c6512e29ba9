"""A store for the terminal, as preparing it ends."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from seqrec.store import SequenceStore


def store_table(store: SequenceStore) -> RenderableType:
    """Counts, and below them what was rejected or left out, by reason."""
    manifest = store.manifest
    table = Table("users", "items", "events", "rejected", title=str(store.path))
    table.add_row(*(f"{n:,}" for n in manifest.counts.model_dump().values()))
    rejected = [f"{n:,} × {reason} (see {store.path / 'rejected.parquet'})" for reason, n in manifest.rejected.items()]
    dropped = [f"{n:,} × {rule}" for rule, n in manifest.dropped.items()]
    return Group(table, *(Text(f"rejected: {x}") for x in rejected), *(Text(f"left out: {x}") for x in dropped))
