"""Slates: decoders beside ranking by one vector, and decodings of one decoder."""

from __future__ import annotations

from typing import Any

from sections.common import cells

FILES = "slate.json"
TITLE = "Slates"
ABOUT = """One backbone, loss and budget, with the head `next_item` and with the head `slate` and each decoder. HR and
NDCG are of the single test target; recall and NDCG of whole lists of ten against the two events that each user gave up,
with 95 % intervals over users. Distance is the mean over pairs of a list of 1 - cosine of the items' attributes;
coverage the share of the catalogue in anybody's list. Milliseconds are of a busy machine, and those of decodings of a
busier one.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a head, then a row a decoding."""
    columns = ["", "target: HR@1", "HR@10", "NDCG@10", "list: recall@10", "NDCG@10", "distance", "coverage"]
    columns.append("ms a list")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, head in figures["heads"].items():
        target = f"{head['hr@1']:.4f} | {cells(head['test'], 'model')}"
        lines.append(f"| {name} | {target} | {_lists(head['lists'])} |")
    if figures["decodings"]:
        lines += [
            "",
            "| decoding (`gru`) | list: recall@10 | NDCG@10 | distance | coverage | ms a list |",
            "|---" * 6 + "|",
        ]
        lines += [f"| {name} | {_lists(found)} |" for name, found in figures["decodings"].items()]
    return lines


def _lists(found: dict[str, Any]) -> str:
    metrics = (found["recall@10"], found["ndcg@10"])
    intervals = " | ".join(f"{value:.4f} [{low:.4f}, {high:.4f}]" for value, low, high in metrics)
    return f"{intervals} | {found['distance']:.3f} | {found['coverage']:.3f} | {found['ms_a_list']:.2f}"
