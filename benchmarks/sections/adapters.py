"""Adapters on one backbone."""

from __future__ import annotations

from typing import Any

from sections.common import cells, protocol

FILES = "adapters-*.json"
TITLE = "Adapters: {rest}"
ABOUT = """One pretrained backbone, frozen, with LoRA and with AdaLoRA, for equally many epochs, beside the same
trainable item table; test metrics of the checkpoint that was best on validation, 95 % intervals over users in brackets.
The last but one column is how far scores of the exported bundle are from the live model's.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row an adapter and a baseline."""
    first = next(iter(figures["rows"].values()))
    lines = [protocol(first["test"])]
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
    return lines
