"""What the comparisons with peers share: who is first, versions, and what was chosen for each."""

from __future__ import annotations

from typing import Any

OWN = "seqrec"
DATA = {"amazon-beauty": "Amazon Beauty", "ml-1m": "MovieLens 1M"}
LOSSES = {"full": "full softmax", "sampled": "256 negatives"}
PACKAGES = {"RecTools": "rectools", "RecBole": "recbole", "RePlay": "replay-rec", "RePlay, older SasRec": "replay-rec"}


def label(row: dict[str, Any]) -> str:
    """A system with its version."""
    return f"{row['system']} {row['versions'][PACKAGES.get(row['system'], OWN)]}"


def groups(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Rows by (data, loss), then by system."""
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["data"], row["loss"]), {})[row["system"]] = row
    return found


def settings(rows: list[dict[str, Any]]) -> list[str]:
    """What was chosen for each system, with its parameters and its torch."""
    lines = []
    for row in rows:
        said = ", ".join(f"{key} {value}" for key, value in flat(row["settings"]).items())
        where = f"{DATA[row['data']]}, {LOSSES[row['loss']]}"
        torch = row["versions"]["torch"]
        lines.append(f"- {label(row)}, {where}: {row['parameters']:,} parameters, {said}; torch {torch}")
    return lines


def flat(chosen: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings of nested mappings under dotted names, but for those that are nothing."""
    found: dict[str, Any] = {}
    for key, value in chosen.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            found[prefix + key] = value
    return found
