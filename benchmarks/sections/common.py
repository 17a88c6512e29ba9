"""What sections share."""

from __future__ import annotations

from typing import Any


def cells(test: dict[str, Any], name: str) -> str:
    """HR@10 and NDCG@10 with their intervals."""
    values = test["model"] if name == "model" else test["baselines"][name]
    intervals = test["intervals"][name]
    return " | ".join(
        f"{values[metric]:.4f} [{intervals[metric][0]:.4f}, {intervals[metric][1]:.4f}]"
        for metric in ("hr@10", "ndcg@10")
    )


def protocol(test: dict[str, Any]) -> str:
    """The protocol and whom it leaves."""
    said = ", ".join(f"{key} {value}" for key, value in test["protocol"].items() if value is not None)
    counts = test["counts"]
    left_out = ", ".join(f"{reason} {n:,}" for reason, n in counts["users_left_out"].items() if n) or "none"
    return (
        f"Protocol: {said}. {counts['users_evaluated']:,} users evaluated; left out: {left_out}; "
        f"{counts['cold_targets']:,} cold targets.\n"
    )


def conditions(figures: dict[str, Any]) -> str:
    """Machine, versions, date."""
    machine, versions = figures["machine"], figures["versions"]
    return (
        f"{figures['date']}; {machine['processor']}, {machine['threads']} of {machine['cores']} cores, "
        f"{machine['cpu_capability']}; " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".\n"
    )


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of a table: a column for each key of the rows, which all have the same ones; none without rows."""
    if not rows:
        return []
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return lines + ["| " + " | ".join(number(value) for value in row.values()) + " |" for row in rows]


def number(value: Any) -> str:
    """Four figures at most, whole numbers whole; a dash for None, and a list's one after another."""
    if isinstance(value, list):
        return " ".join(map(number, value))
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
