"""The outcome head beside counting and beside classifiers on features made by hand."""

from __future__ import annotations

from typing import Any

FILES = "outcome-*.json"
TITLE = "Outcomes: {rest}"
ABOUT = """Every labelled event after the test cut, judged after all that came before it; the checkpoint was chosen on
the part before. 95 % intervals over users in brackets. Both classifiers have the features that the script names, of
what was known at the validation cut.
"""
METRICS = ("auc", "user_auc", "log_loss", "ece")


def body(figures: dict[str, Any]) -> list[str]:
    """A row a seed, a way of counting and a classifier."""
    test = figures["seeds"][0]["test"]
    (outcome,) = test["rates"]
    rate, users = test["rates"][outcome], test["counts"]["users_evaluated"]
    lines = [f"`{outcome}`: {rate:.1%} of {figures['classifiers']['rows']['test']:,} events of {users:,} users.", ""]
    lines += ["| | AUC | AUC of a user | log loss | calibration error | training |", "|---" * 6 + "|"]
    for seed in figures["seeds"]:
        minutes = seed["training"]["training_seconds"] / 60
        lines.append(f"| model, seed {seed['seed']} | {_cells(seed['test'], 'model', outcome)} | {minutes:.1f} min |")
    lines += [f"| {name} | {_cells(test, name, outcome)} | |" for name in test["baselines"]]
    for name in ("logistic_regression", "gradient_boosting"):
        found = figures["classifiers"][name]
        lines.append(f"| {name} | {' | '.join(_cell(*found[metric]) for metric in METRICS)} | |")
    return lines


def _cells(result: dict[str, Any], name: str, outcome: str) -> str:
    values = result["model"] if name == "model" else result["baselines"][name]
    names = [f"{metric}/{outcome}" for metric in METRICS]
    return " | ".join(_cell(values[metric], *result["intervals"][name][metric]) for metric in names)


def _cell(value: float, low: float, high: float) -> str:
    return f"{value:.4f} [{low:.4f}, {high:.4f}]"
