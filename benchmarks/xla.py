"""How far training goes under torch_xla, and how often it compiles with and without length buckets.

    python benchmarks/xla.py batches FOLDER                      # where seqrec is installed
    PJRT_DEVICE=CPU XLA_PYTHON benchmarks/xla.py train FOLDER    # where torch_xla is, beside transformers and peft
    python benchmarks/xla.py write FOLDER                        # writes benchmarks/results/xla.json

In two environments, since torch_xla's last release goes with torch 2.9, which seqrec does not run on: the first part
makes batches and their losses on the CPU, the second trains the model on the same batches under XLA, by a loop of its
own: without Lightning, and with a plain cross-entropy in the place of the one that torch 2.9 has not. All cases run in
one process, so later ones find programs that earlier ones compiled.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BUCKETS = [2, 3, 4, 6, 8, 11, 15, 20]
LOSSES = {
    "full softmax": {"kind": "full_softmax"},
    "8 negatives": {"kind": "sampled_softmax", "negatives": {"uniform": 8}},
}
ITEMS, MAX_LENGTH = 60, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["batches", "train", "write"])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    {"batches": make_batches, "train": train_under_xla, "write": write}[arguments.part](arguments.folder)


def make_batches(folder: Path) -> None:
    from seqrec.logs import LogSettings, prepare
    from seqrec.models import NegativeSampler, NextItemSettings, build_head
    from seqrec.simulate import ShopSettings, simulate_shop, write_shop
    from seqrec.stream import DataSettings, Position, SequenceDataModule

    write_shop(simulate_shop(ShopSettings(users=400, items=ITEMS, categories=4, days=30, seed=3)), folder / "log")
    columns = {"user": "user", "item": "item", "time": "time"}
    log = LogSettings.model_validate({"root": str(folder / "log"), "sources": ["events.csv"], "columns": columns})
    prepare(log, folder / "store")
    cases = []
    for loss in LOSSES:
        for buckets in (BUCKETS, None):
            settings = DataSettings(
                store=str(folder / "store"), max_length=MAX_LENGTH, step_tokens=256, length_buckets=buckets
            )
            data = SequenceDataModule(settings, build_head(NextItemSettings()), seed=1, max_history=MAX_LENGTH)
            model = model_of(loss)
            sampler = None if model.loss.negatives is None else NegativeSampler(model.loss.negatives, ITEMS, seed=1)
            steps = [
                {
                    "batch": [batch.inputs, batch.lengths, batch.targets, batch.keys, batch.places],
                    "negatives": None if sampler is None else tuple(sampler.draw(*batch.position)),
                    "targets": batch.step_targets,
                }
                for batch in data.training.batches(Position(0, 0))
            ]
            weights = {name: value.clone() for name, value in model.state_dict().items()}
            losses = train(model, steps, "cpu")
            cases.append({"loss": loss, "buckets": buckets, "steps": steps, "weights": weights, "losses": losses})
    torch.save(cases, folder / "cases.pt")


def train_under_xla(folder: Path) -> None:
    import torch_xla
    from torch_xla.debug import metrics

    if not hasattr(F, "linear_cross_entropy"):
        torch.nn.LinearCrossEntropyOptions = lambda **_: None
        F.linear_cross_entropy = plain_cross_entropy
    rows = []
    for case in torch.load(folder / "cases.pt", weights_only=True):
        model = model_of(case["loss"])
        model.load_state_dict(case["weights"])
        metrics.clear_all()
        start = time.perf_counter()
        losses = train(model, case["steps"], torch_xla.device(), torch_xla.sync)
        compilations = metrics.metric_data("CompileTime")
        rows.append(
            {
                "loss": case["loss"],
                "buckets": case["buckets"],
                "steps": len(losses),
                "shapes": len({step["batch"][0].shape for step in case["steps"]}),
                "compilations": compilations[0] if compilations else 0,
                "seconds": round(time.perf_counter() - start, 1),
                "largest_relative_loss_difference": max(
                    abs(xla / cpu - 1) for xla, cpu in zip(losses, case["losses"], strict=True)
                ),
                "operators_on_the_cpu": [name for name in metrics.counter_names() if name.startswith("aten::")],
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    device = {"torch": torch.__version__, "torch_xla": torch_xla.__version__, "device": str(torch_xla.device())}
    (folder / "rows.json").write_text(json.dumps(device | {"rows": rows}))


def write(folder: Path) -> None:
    from harness import write_result

    print(write_result("xla", {"xla": json.loads((folder / "rows.json").read_text())}))


def model_of(loss: str) -> Any:
    from seqrec.models import ModelSettings, build_model

    torch.manual_seed(0)
    backbone = {"kind": "gpt2", "layers": 2, "heads": 2, "width": 16, "dropout": 0.1}
    settings = ModelSettings.model_validate({"items": {"width": 16}, "backbone": backbone, "loss": LOSSES[loss]})
    return build_model(settings, n_items=ITEMS, max_length=MAX_LENGTH, total_steps=100)


def train(model: Any, steps: list[dict[str, Any]], device: Any, sync: Any = lambda: None) -> list[float]:
    """The loss of each step; read at the end, as reading one would make XLA compute it alone."""
    from seqrec.models import MicroBatch, Negatives

    model.to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for step in steps:
        inputs, lengths, targets, keys, places = (None if t is None else t.to(device) for t in step["batch"])
        drawn = step["negatives"]
        negatives = None if drawn is None else Negatives(*drawn).to(device, torch.float32)
        batch = MicroBatch(inputs, lengths, targets, dropout_keys=keys, places=places)
        loss = model.training_loss(batch, negatives) / step["targets"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sync()
        losses.append(loss.detach())
    return [float(loss) for loss in losses]


def plain_cross_entropy(
    hidden: Tensor, table: Tensor, targets: Tensor, *, reduction: str, ignore_index: int, options: None
) -> Tensor:
    return F.cross_entropy(hidden @ table.T, targets, reduction=reduction, ignore_index=ignore_index)


if __name__ == "__main__":
    main()
