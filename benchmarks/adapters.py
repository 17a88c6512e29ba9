"""A frozen pretrained backbone, with LoRA, and with AdaLoRA: equal budgets, the same trainable item table.

    SEQREC_DATA=… python benchmarks/adapters.py

Trains recipes/amazon-beauty-minilm-lora.yaml with its adapter replaced, for equally many epochs, and writes
benchmarks/results/adapters-minilm-beauty.json: validation and test metrics, parameters (the table apart), bytes of
checkpoints and of exported adapters, AdaLoRA's ranks, and how far the exported scores are from the live ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from harness import RECIPES, write_result

from seqrec.errors import BundleError
from seqrec.evaluation import evaluate
from seqrec.export import load_bundle
from seqrec.recipe import Run, export_run, fit, load_recipe

RECIPE = RECIPES / "amazon-beauty-minilm-lora.yaml"
ADAPTERS: dict[str, list[str]] = {
    "frozen": ["model.adapter=null"],
    "lora": ["model.adapter={kind: lora, rank: 8, alpha: 16}"],
    "adalora": ["model.adapter={kind: adalora, initial_rank: 12, target_rank: 8, alpha: 16}"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as `seqrec fit` takes them, for all three")
    parser.add_argument("--only", choices=list(ADAPTERS), nargs="+", default=list(ADAPTERS))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    rows = {}
    for name in arguments.only:
        recipe = load_recipe(RECIPE, [*ADAPTERS[name], *arguments.overrides, f"name=minilm-{name}"])
        rows[name] = measure(fit(recipe, runs=arguments.runs), arguments.runs / f"minilm-{name}-bundle")
        print(name, rows[name], flush=True)
    settings = recipe.model_dump(mode="json", exclude={"seed", "name"})
    print(write_result("adapters-minilm-beauty", {"rows": rows, "settings": settings}))


def measure(run: Run, bundle: Path) -> dict[str, Any]:
    """Everything about one finished run."""
    if not bundle.exists():
        export_run(run, bundle)
    adapter = bundle / "adapter"
    validation, test = (evaluate(run.model, run.data, part=part) for part in ("validation", "test"))
    assert validation is not None
    assert test is not None
    assert run.result is not None
    return {
        "validation_ndcg@10": validation.model["ndcg@10"].value,
        "test": test.to_dict(),
        "training": {key: run.result[key] for key in ("steps", "epochs", "seconds_since_start", "best")},
        "parameters": run.result["parameters"],
        "adapter_ranks": run.result["adapter_ranks"],
        "checkpoint_bytes": run.best.state.stat().st_size,
        "adapter_bytes": sum(file.stat().st_size for file in adapter.iterdir()) if adapter.is_dir() else 0,
        "adapter_changes_scores_by": adapter_effect(run),
        "bundle_differs_from_live_by": bundle_difference(run, bundle),
    }


@torch.inference_mode()
def adapter_effect(run: Run) -> float | None:
    """Largest change of a score when the adapter is switched off."""
    backbone = run.model.backbone.model
    if not hasattr(backbone, "disable_adapter"):
        return None
    items, lengths = sample(run)
    with_adapter = run.model.user_vectors(items, lengths) @ run.model.item_vectors().T
    with backbone.disable_adapter():
        without = run.model.user_vectors(items, lengths) @ run.model.item_vectors().T
    return float((with_adapter - without).abs().max())


@torch.inference_mode()
def bundle_difference(run: Run, bundle: Path) -> float:
    """Largest difference of a score between the live model and the opened bundle."""
    items, lengths = sample(run)
    try:
        model = load_bundle(bundle).model
    except BundleError as error:
        raise SystemExit(str(error)) from error
    live = run.model.user_vectors(items, lengths) @ run.model.item_vectors().T
    return float((model.user_vectors(items, lengths) @ model.item_vectors().T - live).abs().max())


def sample(run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of test histories."""
    batch = run.data.evaluation("test")[0]
    return batch.items[:64], batch.lengths[:64]


if __name__ == "__main__":
    main()
