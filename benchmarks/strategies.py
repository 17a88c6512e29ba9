"""The first 50 losses of each strategy on two processes, beside those of one process.

    python benchmarks/strategies.py

The demo's simulated shop, full fine-tuning and adapters on a frozen backbone, dropout off, float32. ZeRO-3 shards every
tensor, also the small ones that it would keep whole. Then an epoch of each, whose checkpoint is evaluated,
consolidated, evaluated from the consolidated file alone, and exported, which compares scores in a fresh process. Writes
benchmarks/results/strategies.json after each; rows of today are kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from harness import RECIPES, losses_of, rows_of_today, seqrec, write_result
from safetensors.torch import load_file

from seqrec.evaluation import evaluate
from seqrec.models import SequenceModel
from seqrec.recipe import Run, consolidate, export_run
from seqrec.simulate import simulate_shop, write_shop

STEPS = 50
LENGTH = [f"trainer.max_steps={STEPS}"]
SETTINGS = [
    "trainer.log_every_n_steps=1",
    "data.partitions=4",
    "model.backbone.dropout=0",
    "optimizer.lr=5e-3",
    "optimizer.warmup_steps=5",
    "loggers=[{kind: csv}]",
]
FROZEN = "model.backbone.trainable=false"
KINDS = {
    "full": [],
    "lora": [FROZEN, "model.adapter={kind: lora, rank: 8}"],
    "dora": [FROZEN, "model.adapter={kind: lora, rank: 8, dora: true}"],
    "ia3": [FROZEN, "model.adapter={kind: ia3}"],
    "oft": [FROZEN, "model.adapter={kind: oft, block_size: 8}", "model.backbone.kind=llama"],
    "layer_norm": [FROZEN, "model.adapter={kind: layer_norm}"],
    "bottleneck": [FROZEN, "model.adapter={kind: bottleneck, size: 16}"],
    "prefix": [FROZEN, "model.adapter={kind: prefix}"],
    "prompt": [FROZEN, "model.adapter={kind: prompt}"],
}
ZERO_3 = {"zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0}}
STRATEGIES = ("ddp", "fsdp2", "deepspeed_stage_1", "deepspeed_stage_2", "deepspeed_stage_3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(KINDS), nargs="+", default=list(KINDS))
    parser.add_argument("--fresh", action="store_true", help="measures again what was measured today")
    arguments = parser.parse_args()
    rows = rows_of_today("strategies", fresh=arguments.fresh)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shop(simulate_shop(), folder / "log")
        (folder / "zero3.json").write_text(json.dumps(ZERO_3))
        for kind in arguments.only:
            there = {row["strategy"] for row in rows if row["trained"] == kind}
            missing = [strategy for strategy in STRATEGIES if strategy not in there]
            one = losses(folder, kind, "auto", 1) if missing else {}
            for strategy in missing:
                row = compare(one, losses(folder, kind, strategy, 2), kind, strategy)
                rows.append(row | from_checkpoint_to_bundle(folder, kind, strategy))
                print(rows[-1], flush=True)
                write_result("strategies", {"steps": STEPS, "settings": SETTINGS, "rows": rows})


def losses(folder: Path, kind: str, strategy: str, processes: int) -> dict[int, float]:
    return losses_of(fit(folder, kind, strategy, processes, f"{kind}-{strategy}", LENGTH))


def fit(folder: Path, kind: str, strategy: str, processes: int, run: str, length: list[str]) -> Path:
    where = str(folder / "zero3.json") if strategy == "deepspeed_stage_3" else strategy
    paths = [f"name={run}", f"logs.root={folder / 'log'}", f"data.store={folder / 'store'}"]
    placed = [f"trainer.devices={processes}", f"trainer.strategy={where}"]
    seqrec("fit", str(RECIPES / "demo.yaml"), *SETTINGS, *length, *KINDS[kind], *placed, *paths, folder=folder)
    return folder / "runs" / run


def from_checkpoint_to_bundle(folder: Path, kind: str, strategy: str) -> dict[str, Any]:
    """Validation NDCG@10 as training had it, from its checkpoint and from the consolidated file; and an export."""
    place = fit(folder, kind, strategy, 2, f"{kind}-{strategy}-epoch", ["trainer.max_epochs=1"])
    run = Run(place)
    assert run.result is not None
    weights = load_file(consolidate(run))
    emptied = Run(place).model
    with torch.no_grad():
        for parameter in emptied.parameters():
            if parameter.requires_grad:
                parameter.zero_()
    emptied.load_state_dict(weights, strict=False)
    export_run(run, folder / "bundles" / place.name)  # raises where a fresh process scores otherwise
    return {
        "ndcg@10 in training": run.result["best"]["val/ndcg@10"],
        "of the checkpoint": ndcg(run, run.model),
        "of the consolidated file": ndcg(run, emptied),
        "exported, scores equal": True,
    }


def ndcg(run: Run, model: SequenceModel) -> float:
    found = evaluate(model, run.data, part="validation", progress=False)
    assert found is not None
    return float(found.to_dict()["model"]["ndcg@10"])


def compare(one: dict[int, float], two: dict[int, float], kind: str, strategy: str) -> dict[str, Any]:
    first, last = one[min(one)], one[max(one)]
    return {
        "trained": kind,
        "strategy": strategy,
        "steps": len(one),
        "same steps": one.keys() == two.keys(),
        "first loss": first,
        "last loss": last,
        "fall": 1 - last / first,
        "largest difference": max(abs(one[step] - two[step]) for step in one),
    }


if __name__ == "__main__":
    main()
