"""The memory that `seqrec plan` predicts beside the peak that training has.

    python benchmarks/plan.py
    python benchmarks/plan.py --calibrate

Each recipe trains two steps on the CPU, in processes of its own, on made-up histories; its peak is the most resident
memory of any rank above what it had before anything was built. What is freed goes back to the system at once
(MALLOC_MMAP_THRESHOLD_), so that resident memory is what is in use. Writes benchmarks/results/plan.json, with recipes
that were used to set the constants of `seqrec.plan.constants` apart from those that were not. `--calibrate` runs the
former and prints what is left for `CPU_BASE` to say.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from harness import rows_of_today, write_result

from seqrec.logs import LogSettings, prepare
from seqrec.plan import plan_recipe
from seqrec.plan.constants import CPU_BASE
from seqrec.recipe import parse_recipe

MIB = 2**20
MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}

GPT2 = {"kind": "gpt2", "layers": 3, "heads": 4, "width": 256, "dropout": 0.1}
LLAMA = {"kind": "llama", "layers": 4, "heads": 4, "width": 256, "dropout": 0.0}
WIDE_LLAMA = {"kind": "llama", "layers": 6, "heads": 8, "width": 512, "dropout": 0.0}
BERT = {"kind": "bert", "layers": 4, "heads": 5, "width": 320, "dropout": 0.1}
LORA = {"kind": "lora", "rank": 16}
SAMPLED = {"kind": "sampled_softmax", "negatives": {"uniform": 256}}
MASKED = {"kind": "masked_item"}
RECOMPUTED = {"activation_checkpointing": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibrate", action="store_true", help="run the recipes that constants are set by")
    parser.add_argument("--fresh", action="store_true", help="measure again what was measured today")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stores = {n: make_store(folder, n) for n in (40_000, 100_000)}
        if arguments.calibrate:
            rows = [measure(folder, name, values, stores) for name, values in calibration().items()]
            left = [row["measured"] - row["predicted"] + CPU_BASE / MIB for row in rows]
            print(f"CPU_BASE: {median(left):.0f} MiB, from {min(left):.0f} to {max(left):.0f}")
            return
        rows = rows_of_today("plan", fresh=arguments.fresh)
        recipes = [(name, values, False) for name, values in others().items()]
        recipes += [(name, values, True) for name, values in calibration().items()]
        for name, values, calibrates in recipes:
            if name not in {row["recipe"] for row in rows}:
                rows.append({"calibrates": calibrates} | measure(folder, name, values, stores))
                print(json.dumps(rows[-1]), flush=True)
                print(write_result("plan", {"unit": "MiB a rank", "rows": rows}), flush=True)


def calibration() -> dict[str, dict[str, Any]]:
    """The recipes that the constants, and what a strategy holds, were found with."""
    found = {"calibration: one process": values(40_000, GPT2, step_tokens=1500)}
    for strategy in ("ddp", "fsdp2", "deepspeed_stage_1", "deepspeed_stage_2", "deepspeed_stage_3"):
        found[f"calibration: {strategy}"] = values(
            100_000, GPT2, strategy, max_length=50, step_tokens=1500, loss=SAMPLED
        )
    return found


def others() -> dict[str, dict[str, Any]]:
    """Recipes that nothing was set by."""
    frozen = {"trainable": False}
    return {
        "llama, long": values(40_000, LLAMA, loss=SAMPLED, max_length=200, step_tokens=3000),
        "llama, long, recomputed": values(
            40_000, LLAMA | {"layers": 8} | RECOMPUTED, loss=SAMPLED, max_length=200, step_tokens=6000
        ),
        "bert, lora": values(
            100_000, BERT | frozen, "ddp", width=192, adapter=LORA, head=MASKED, max_length=50, step_tokens=3000
        ),
        "llama, micro-batches": values(40_000, LLAMA, "ddp", loss=SAMPLED, step_tokens=4000, partitions=4),
        "gpt2, recomputed": values(40_000, GPT2 | {"layers": 6} | RECOMPUTED, "ddp", loss=SAMPLED, step_tokens=5000),
        "wide llama": values(40_000, WIDE_LLAMA, "fsdp2", loss=SAMPLED, max_length=60, step_tokens=1000),
        "gpt2, lora": values(
            100_000,
            GPT2 | frozen | {"width": 512},
            "deepspeed_stage_1",
            width=192,
            adapter=LORA,
            loss={"kind": "gbce"},
            step_tokens=2000,
        ),
        "bert": values(
            40_000, BERT | {"width": 480}, "deepspeed_stage_2", head=MASKED, max_length=80, step_tokens=1500
        ),
        "llama, slates": values(
            40_000,
            LLAMA,
            "ddp",
            loss=SAMPLED,
            head={"kind": "slate", "size": 10, "decoder": "gru"},
            max_length=50,
            step_tokens=1000,
        ),
        "wide llama, bce": values(
            100_000,
            WIDE_LLAMA,
            "deepspeed_stage_3",
            width=192,
            loss={"kind": "bce"},
            max_length=80,
            step_tokens=1500,
        ),
    }


def values(
    n_items: int,
    backbone: dict[str, Any],
    strategy: str = "auto",
    *,
    width: int | None = None,
    max_length: int = 100,
    step_tokens: int,
    partitions: int = 1,
    **model: Any,
) -> dict[str, Any]:
    """A recipe's values; `data.store` is the catalogue's size until there is a store."""
    return {
        "name": "plan",
        "seed": 1,
        "data": {
            "store": n_items,
            "max_length": max_length,
            "step_tokens": step_tokens,
            "partitions": partitions,
            "window_tokens": 200_000,
        },
        "model": {"items": {"width": width or backbone["width"]}, "backbone": backbone} | model,
        "selection": {"patience": None},
        "loggers": [],
        "trainer": {
            "max_steps": 2,
            "accelerator": "cpu",
            "devices": 1 if strategy == "auto" else 2,
            "strategy": strategy,
            "limit_val_batches": 0,
            "num_sanity_val_steps": 0,
        },
    }


def make_store(folder: Path, n_items: int) -> str:
    """Histories of 20 events to some hundred, of uniform items, each of which occurs."""
    draws = np.random.default_rng(0)
    lengths = draws.integers(20, max(300, n_items // 480), 1200)
    items = draws.integers(0, n_items, lengths.sum())
    items[:n_items] = np.arange(n_items)
    draws.shuffle(items)
    log, store = folder / f"{n_items}.txt", folder / f"store-{n_items}"
    histories = np.split(items, np.cumsum(lengths)[:-1])
    log.write_text("\n".join(f"u{user} {' '.join(map(str, history))}" for user, history in enumerate(histories)))
    prepare(LogSettings(sources=[str(log)], format="sequences"), store)
    return str(store)


def measure(folder: Path, name: str, values: dict[str, Any], stores: dict[int, str]) -> dict[str, Any]:
    """MiB that a recipe's largest rank takes, predicted and measured."""
    values = values | {"data": values["data"] | {"store": stores[values["data"]["store"]]}}
    recipe = parse_recipe(values, where=name)
    strategy, ranks = recipe.trainer["strategy"], recipe.trainer["devices"]
    plan = plan_recipe(recipe, device="cpu", devices=ranks)
    recomputed = recipe.model.backbone.activation_checkpointing
    row = next(row for row in plan.rows if (row.strategy, row.checkpointing) == (strategy, recomputed))
    with tempfile.TemporaryDirectory(dir=folder) as out:
        file = Path(out) / "values.json"
        file.write_text(json.dumps(values))
        environment = os.environ | MALLOC | {"OMP_NUM_THREADS": "1"}
        script = Path(__file__).with_name("plan_peaks.py")
        subprocess.run([sys.executable, str(script), str(file), out], env=environment, check=True)
        peaks = [json.loads((Path(out) / f"{rank}.json").read_text()) / MIB for rank in range(ranks)]
    predicted = row.memory.total / MIB
    return {
        "recipe": name,
        "strategy": strategy,
        "ranks": ranks,
        "predicted": round(predicted),
        "measured": round(max(peaks)),
        "error": round(predicted / max(peaks) - 1, 3),
        "parts": {part: round(size / MIB) for part, size in row.memory._asdict().items()},
    }


if __name__ == "__main__":
    main()
