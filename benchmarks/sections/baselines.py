"""The baselines with settings of their own."""

from __future__ import annotations

from typing import Any

FILES = "baselines.json"
TITLE = "Baselines, tuned"
ABOUT = """Each baseline with the setting whose NDCG@10 was best on the validation targets, of the grid below, and its
test metrics with 95 % intervals over users; seen items filtered, every item ranked. `seqrec evaluate` has one setting
for all data.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a data set and baseline, then what was searched."""
    lines = ["| recipe | baseline | setting | HR@10 | NDCG@10 | fitted in |", "|---" * 6 + "|"]
    for row in figures["rows"]:
        values = [
            f"{one['value']:.4f} [{one['low']:.4f}, {one['high']:.4f}]"
            for one in (row["test"][name] for name in ("hr@10", "ndcg@10"))
        ]
        chosen = told(row["setting"]) or "–"
        lines.append(
            f"| {row['data']} | {row['baseline']} | {chosen} | {' | '.join(values)} | {row['fit_seconds']:.1f} s |"
        )
    lines += ["\nSearched, NDCG@10 on validation:\n"]
    for data, name in dict.fromkeys((row["data"], row["baseline"]) for row in figures["rows"]):
        found = [row for row in figures["searched"] if (row["data"], row["baseline"]) == (data, name)]
        tried = [f"{told(setting(row)) or '–'}: {row['validation_ndcg@10']:.4f}" for row in found]
        lines.append(f"- {data}, {name}: {'; '.join(tried)}")
    return lines


def setting(row: dict[str, Any]) -> dict[str, Any]:
    """The hyper-parameters of a row of the search."""
    return {key: value for key, value in row.items() if key not in ("data", "baseline", "validation_ndcg@10")}


def told(values: dict[str, Any]) -> str:
    """As text."""
    return ", ".join(f"{key} {value:g}" for key, value in values.items())
