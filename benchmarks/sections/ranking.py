"""Ranking in parts."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "ranking.json"
TITLE = "Ranking"
ABOUT = """seqrec alone, at width 64, random weights, on which the cost does not depend; medians. *evaluate*: reading,
forward pass, each test target's rank among all items and the best 20 unseen ones. *top10*: the same up to the best 10
after each user's whole sequence. *rank*: from user vectors to the best 10, without a forward pass, beside the bare
matrix product of the same tiles, in turn.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a data set or size and task."""
    return table(
        [
            {
                "data": row["dataset"],
                "task": row["task"],
                "users": row["users"],
                "users/s": round(row["users_per_s"]),
                "of the bare product's rate": row.get("of_matmul"),
            }
            for row in figures["rows"]
        ]
    )
