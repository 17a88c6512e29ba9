"""Slates: decoders beside ranking by one vector, and decodings of one decoder."""

from __future__ import annotations

from statistics import mean
from typing import Any

from sections.common import cells

FILES = "slate.json"
TITLE = "Slates"
ABOUT = """One backbone, loss and budget, with the head `next_item` and with the head `slate` and each decoder. HR and
NDCG are of the single test target; recall and NDCG of whole lists of ten against the two events that each user gave up,
with 95 % intervals over users. Distance is the mean over pairs of a list of 1 - cosine of the items' attributes;
coverage the share of the catalogue in anybody's list. Minutes of training are with validation. Minutes and milliseconds
are of a busy machine. Decodings are of the first seed of `gru`.
"""
HEAD = ["", "target: HR@1", "HR@10", "NDCG@10", "list: recall@10", "NDCG@10", "distance", "coverage", "ms a list"]


def body(figures: dict[str, Any]) -> list[str]:
    """A row a head and seed, the means of heads, and a row a decoding."""
    columns = [*HEAD, "training"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, seeds in figures["heads"].items():
        lines += [_row(f"{name}, seed {one['seed']}", one) for one in seeds]
        if len(seeds) > 1:
            lines.append(_means(name, seeds))
    if figures["decodings"]:
        lines += ["", f"| decoding | {' | '.join(HEAD[4:])} |", "|---" * 6 + "|"]
        lines += [f"| {name} | {_lists(found)} |" for name, found in figures["decodings"].items()]
    return lines


def _row(name: str, one: dict[str, Any]) -> str:
    minutes = one["training"]["training_seconds"] / 60
    return (
        f"| {name} | {one['hr@1']:.4f} | {cells(one['test'], 'model')} | {_lists(one['lists'])} | {minutes:.1f} min |"
    )


def _means(name: str, seeds: list[dict[str, Any]]) -> str:
    tests, lists = [one["test"]["model"] for one in seeds], [one["lists"] for one in seeds]
    found = [mean(one["hr@1"] for one in seeds)]
    found += [mean(test[metric] for test in tests) for metric in ("hr@10", "ndcg@10")]
    found += [mean(one[metric][0] for one in lists) for metric in ("recall@10", "ndcg@10")]
    apart = [mean(one[metric] for one in lists) for metric in ("distance", "coverage")]
    bold = [f"**{value:.4f}**" for value in found] + [f"**{value:.3f}**" for value in apart]
    return f"| **{name}, mean of {len(seeds)} seeds** | {' | '.join(bold)} | | |"


def _lists(found: dict[str, Any]) -> str:
    metrics = (found["recall@10"], found["ndcg@10"])
    intervals = " | ".join(f"{value:.4f} [{low:.4f}, {high:.4f}]" for value, low, high in metrics)
    return f"{intervals} | {found['distance']:.3f} | {found['coverage']:.3f} | {found['ms_a_list']:.2f}"
