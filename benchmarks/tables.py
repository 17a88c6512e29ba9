"""Makes docs/benchmarks.md from the figures in benchmarks/results/.

python benchmarks/tables.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Made by `python benchmarks/tables.py` from `benchmarks/results/`, which `benchmarks/*.py` write; do not edit. Test
metrics of the checkpoint that was best on validation; every item ranked; 95 % intervals over users in brackets.
"""


def main() -> None:
    sections = [HEAD]
    for path in sorted(RESULTS.glob("quality-*.json")):
        sections.append(quality(json.loads(path.read_text())))
    for path in sorted(RESULTS.glob("adapters-*.json")):
        sections.append(adapters(path.stem, json.loads(path.read_text())))
    if (ranks_file := RESULTS / "ranks.json").is_file():
        sections.append(ranks(json.loads(ranks_file.read_text())))
    PAGE.write_text("\n".join(sections))
    print(PAGE)


def quality(figures: dict[str, Any]) -> str:
    """One recipe: model by seed beside the baselines."""
    lines = [f"## {figures['recipe']}\n", protocol(figures["seeds"][0]["test"]), conditions(figures)]
    lines += ["| | HR@10 | NDCG@10 | epochs | training |", "|---|---|---|---|---|"]
    for seed in figures["seeds"]:
        test, training = seed["test"], seed["training"]
        spent = f"{training['epochs']} | {training['seconds_since_start'] / 60:.1f} min"
        lines.append(f"| model, seed {seed['seed']} | {cells(test, 'model')} | {spent} |")
    if len(figures["seeds"]) > 1:
        mean = figures["mean_test"]
        lines.append(
            f"| **mean of {len(figures['seeds'])} seeds** | **{mean['hr@10']:.4f}** | **{mean['ndcg@10']:.4f}** | | |"
        )
    test = figures["seeds"][0]["test"]
    lines += [f"| {name} | {cells(test, name)} | | |" for name in test["baselines"]]
    return "\n".join(lines) + "\n"


def adapters(name: str, figures: dict[str, Any]) -> str:
    """Adapters on one backbone."""
    first = next(iter(figures["rows"].values()))
    lines = [f"## {name}\n", protocol(first["test"]), conditions(figures)]
    lines += [
        "| | validation NDCG@10 | test HR@10 | test NDCG@10 | trainable (item table apart) | item table "
        "| checkpoint, MB | adapter, MB | adapter moves scores by | bundle − live | training |",
        "|---" * 11 + "|",
    ]
    for row_name, row in figures["rows"].items():
        moved = row["adapter_changes_scores_by"]
        lines.append(
            f"| {row_name} | {row['validation_ndcg@10']:.4f} | {cells(row['test'], 'model')} "
            f"| {row['parameters']['trainable']:,} | {row['parameters']['item_table']:,} "
            f"| {row['checkpoint_bytes'] / 1e6:.1f} | {row['adapter_bytes'] / 1e6:.2f} "
            f"| {'–' if moved is None else f'{moved:.3g}'} | {row['bundle_differs_from_live_by']:.1g} "
            f"| {row['training']['epochs']} epochs, {row['training']['seconds_since_start'] / 60:.1f} min |"
        )
    lines += [f"| {b} | – | {cells(first['test'], b)} |" + " – |" * 7 for b in first["test"]["baselines"]]
    ranks = figures["rows"].get("adalora", {}).get("adapter_ranks")
    if ranks:
        listed = ", ".join(f"{layer.removeprefix('base_model.model.')} {rank}" for layer, rank in ranks.items())
        lines.append(f"\nAdaLoRA's ranks at the end, {sum(ranks.values())} over {len(ranks)} layers: {listed}.")
    return "\n".join(lines) + "\n"


def ranks(figures: dict[str, Any]) -> str:
    """One process beside two."""
    first, last = figures["first_and_last_loss"]
    same = "the same to the last digit" if figures["evaluations_identical"] else "NOT the same"
    lines = [
        "## One process and two\n",
        conditions(figures),
        f"The demo's recipe in float64 with dropout off, {figures['steps']} steps in which the loss goes from",
        f"{first:.3f} to {last:.3f}: the losses on one and on two processes differ by",
        f"{figures['largest_loss_difference']:.1e} at most. The evaluation of one checkpoint is {same}.",
    ]
    return "\n".join(lines) + "\n"


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


if __name__ == "__main__":
    main()
