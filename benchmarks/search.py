"""Validation metrics of a recipe under many settings, several trained side by side.

    SEQREC_DATA=… python benchmarks/search.py recipes/amazon-beauty-ids.yaml settings.yaml --processes 16

`settings.yaml` maps a name to overrides, as `wide: [model.items.width=256, model.backbone.width=256]`. Small models
leave most of a GPU idle, so that sixteen processes take twice as long as one. Test targets are never looked at. Writes
benchmarks/results/search-RECIPE.json after every training, best first; settings of today by the same name are kept.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from harness import rows_of_today, write_result

from seqrec.recipe import Recipe, fit, load_recipe, training_curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/search"))
    parser.add_argument("--fresh", action="store_true", help="trains again what was trained today")
    arguments = parser.parse_args()
    tried: dict[str, list[str]] = yaml.safe_load(arguments.settings.read_text())
    # all are read before the first is trained, so that a mistake in the last one shows at once
    recipes = {
        name: load_recipe(arguments.recipe, [*overrides, f"name=search-{number}"])
        for number, (name, overrides) in enumerate(tried.items())
    }
    for name, recipe in recipes.items():
        every = recipe.trainer.get("check_val_every_n_epoch", 1)
        epochs = recipe.trainer.get("max_epochs", every)
        if 0 < epochs < every:  # -1 is no limit
            parser.error(
                f"{arguments.settings}: {name}: {epochs} epochs end before the first validation, which comes after "
                f"{every}; set trainer.check_val_every_n_epoch there"
            )
    result = f"search-{arguments.recipe.stem}"
    rows = rows_of_today(result, fresh=arguments.fresh)
    seed = next(iter(recipes.values())).seed
    done = {row["changes"] for row in rows}
    left = {name: recipe for name, recipe in recipes.items() if name not in done}
    with multiprocessing.get_context("spawn").Pool(arguments.processes, torch.set_num_threads, [1]) as pool:
        for row in pool.imap_unordered(partial(train, runs=arguments.runs), left.items(), chunksize=1):
            print(row, flush=True)
            rows = sorted([*rows, row], key=lambda row: -row["val ndcg@10"])
            write_result(result, {"base": arguments.recipe.stem, "seed": seed, "rows": rows})


def train(named: tuple[str, Recipe], runs: Path) -> dict[str, Any]:
    """The validations of one setting; what it has trained is thrown away."""
    name, recipe = named
    run = fit(recipe, runs=runs, fresh=True)
    result = run.result
    assert result is not None
    curve = training_curve(run.folder, "ndcg@10")
    shutil.rmtree(run.folder)
    return {
        "changes": name,
        "epochs": result["epochs"],
        "val ndcg@10": round(result["best"]["val/ndcg@10"], 5),
        "seconds": result["training_seconds"],
        "validations": [round(point.valid, 4) for point in curve if point.valid is not None],
    }


if __name__ == "__main__":
    main()
