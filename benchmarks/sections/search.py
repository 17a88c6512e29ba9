"""The search for settings: what was tried, on validation only."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "search-*.json"
TITLE = "Search: {rest}"
ABOUT = """Best validation NDCG@10 of one seed for each setting tried, side by side; the test targets were not looked
at. Seeds differ by some 0.0005. Changes are to the recipe as it was before what helped was taken over; those that
seqrec has no setting for were prototypes.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a setting, best first."""
    rows = sorted(figures["rows"], key=lambda row: -row["val ndcg@10"])
    return [f"Changes to `recipes/{figures['base']}.yaml`, seed {figures['seed']}:\n", *table(rows)]
