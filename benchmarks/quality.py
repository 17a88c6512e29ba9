"""Recommendation quality of a recipe over seeds, beside Popular and ItemKNN.

    SEQREC_DATA=… python benchmarks/quality.py recipes/amazon-beauty-causal.yaml --seeds 1 2 3

Trains each seed (or goes on with it), chooses the checkpoint on validation as the recipe says, evaluates the test
targets once, and writes benchmarks/results/quality-RECIPE.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

from harness import write_result

from seqrec.evaluation import evaluate
from seqrec.recipe import Run, fit, load_recipe, training_curve

SHOWN = ("hr@10", "ndcg@10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="as `seqrec fit` takes them")
    parser.add_argument("--name", help="of the result, where overrides make another protocol; else the recipe's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    name = arguments.name or arguments.recipe.stem
    seeds = []
    for seed in arguments.seeds:
        recipe = load_recipe(arguments.recipe, [*arguments.overrides, f"seed={seed}", f"name={name}-seed{seed}"])
        seeds.append(measure(fit(recipe, runs=arguments.runs)) | {"seed": seed})
        print(seeds[-1]["test"]["model"] | {"seed": seed}, flush=True)
    means = {metric: mean(seed["test"]["model"][metric] for seed in seeds) for metric in SHOWN}
    settings = recipe.model_dump(mode="json", exclude={"seed", "name"})
    figures = {"recipe": name, "mean_test": means, "seeds": seeds, "settings": settings}
    print(write_result(f"quality-{name}", figures), means)


def measure(run: Run) -> dict[str, Any]:
    """Test metrics of a finished run, with what training took."""
    result = evaluate(run.model, run.data)
    assert result is not None
    assert run.result is not None
    best = run.recipe.selection.metric
    curve = [point for point in training_curve(run.folder, best) if point.valid is not None]
    return {
        "training": {key: run.result[key] for key in ("steps", "epochs", "training_seconds", "best")},
        "parameters": run.result["parameters"],
        "validation_curve": [round(point.valid, 5) for point in curve if point.valid is not None],
        "test": result.to_dict(),
    }


if __name__ == "__main__":
    main()
