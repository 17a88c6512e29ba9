"""Layouts of a shard."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "shards.json"
TITLE = "Layout of shards"
ABOUT = """One full shard of made-up sequences, 9 events on average, in several layouts: megabytes, and million users
that raw pyarrow reads in a second of one thread's CPU time, the best of rounds in turn. Items alone, or items, times
and actions; with the footer read anew for each row group, or kept, as a store does. `seqrec` is the layout of a store.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a layout."""
    rows = [
        {
            "layout": f"**{name}**" if name == "seqrec" else name,
            "MB": row["megabytes"],
            "items": row["items"],
            "items, footer kept": row["items_footer_kept"],
            "all three": row["items_times_actions"],
            "all three, footer kept": row["items_times_actions_footer_kept"],
        }
        for name, row in figures["layouts"].items()
    ]
    return [f"{figures['users']:,} users.\n", *table(rows)]
