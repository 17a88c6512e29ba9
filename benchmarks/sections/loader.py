"""From shards to batches beside plain readings."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "loader.json"
TITLE = "Reading"
ABOUT = """From the shards of a made-up store with log-normal lengths to training batches, one process on all cores; the
best of rounds in turn. seqrec's rows are shuffled, batched by length, padded, and tensors. The others do less:
*pyarrow* reads every row group and touches each value, *datasets, batches* does so in Arrow batches of 1,000 rows:
limits rather than rivals. *datasets, rows* is what is often written: a shuffle buffer of 10,000 (the time to fill it is
left out), rows cut and padded one by one. seqrec's events are inputs, without those held out.
"""
NAMES = {
    "seqrec": "**seqrec**",
    "pyarrow": "pyarrow",
    "datasets_rows": "datasets, rows",
    "datasets_batches": "datasets, batches",
}


def body(figures: dict[str, Any]) -> list[str]:
    """A row a reader."""
    store, multiples = figures["store"], figures["rows_per_s_as_a_multiple_of"]
    said = (
        f"{store['users']:,} users, {store['events']:,} events, {store['shards']} shards; {figures['steps']:,} steps "
        f"of {figures['settings']['step_tokens']:,} events. Counting what is trained on, once a run, took "
        f"{figures['counting_seconds']:.2g} s.\n"
    )
    rows = [
        {
            "reader": NAMES.get(name, name),
            "rows": rate["rows"],
            "rows/s": rate["rows_per_s"],
            "events/s": rate["events_per_s"],
            "seqrec is × as fast, by rows": multiples.get(name),
        }
        for name, rate in figures["rates"].items()
    ]
    return [said, *table(rows)]
