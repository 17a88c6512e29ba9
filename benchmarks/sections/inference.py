"""Ranking the whole catalogue beside peers."""

from __future__ import annotations

from typing import Any

from sections.peers import DATA, OWN, groups, label

FILES = "inference.json"
TITLE = "Full ranking"
ABOUT = """Ten unseen items for every test user, the whole catalogue ranked, by each system's own inference: from
histories as it keeps them to its own form of lists, be that an array or a table. Models as in the section on training
speed; weights are untrained, which changes no speed. Median of rounds in turn,
the first left out.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a system."""
    lines = ["| data | users | system | users/s | seqrec is × as fast |", "|---|---|---|---|---|"]
    for (data, _), systems in groups(figures["rows"]).items():
        for system, row in systems.items():
            speed = row["users_per_s"]
            shown = f"**{label(row)}** | **{speed:,}**" if system == OWN else f"{label(row)} | {speed:,}"
            lines.append(f"| {DATA[data]} | {row['users']:,} | {shown} | {systems[OWN]['users_per_s'] / speed:.1f} |")
    return lines
