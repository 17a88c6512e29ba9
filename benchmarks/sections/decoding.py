"""Generating semantic ids with and without the trie."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "decoding.json"
TITLE = "Decoding semantic ids"
ABOUT = """Beam search by a trained model for test users of Amazon Beauty, reading histories included: over the ids that
items have, and over all tuples of codes; in turn, medians. *invalid*: share of ids that no item has, of all and of
those that stand first. In training, too, probabilities are among the codes that go on to an item, so that a model has
no reason to avoid others, and its search needs the trie.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a search, and what more beams than items give."""
    few = figures["few"]
    rows = [
        {
            "search over": row["search"],
            "beams": figures["beams"],
            "users": figures["users"],
            "items/s": row["items_per_s"],
            "invalid": row["share_of_invalid_ids"],
            "invalid, first": row["share_of_first_ids_invalid"],
            "repeated": row["repeated_in_a_list"],
        }
        for row in figures["rows"]
    ]
    return [
        *table(rows),
        "",
        f"{few['beams']} beams over a catalogue of {few['items']} items: {few['lists_with_every_item_once']} of "
        f"{few['users']} lists have every item once.",
    ]
