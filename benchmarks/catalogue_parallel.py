"""Memory of a rank by catalogue size: the item table in shards on two processes, beside whole under DDP.

    python benchmarks/catalogue_parallel.py

Three steps of AdamW with the full softmax in float32, two processes of one thread. The peak of the resident set (VmHWM,
reset when training starts) and what is resident between steps, without what a process takes before it has a model. DDP
at the largest catalogue is not run but computed from the smaller ones, on a line through them: it would not fit beside
itself on a small machine. Writes benchmarks/results/catalogue-parallel.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.distributed as dist
from harness import write_result
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from seqrec.event_columns import NO_COLUMNS
from seqrec.models import ModelSettings, build_model
from seqrec.random import draw_items
from seqrec.stream import Position, TrainingBatch
from seqrec.training import OptimizerSettings, SequenceRecommender
from seqrec.training.strategies import build_strategy

RANKS, STEPS, SEQUENCES, EVENTS, WIDTH = 2, 3, 16, 8, 64
SMALLER, LARGEST = (500_000, 1_000_000, 2_000_000), 5_000_000


class Memory(Callback):
    """Resident megabytes between steps."""

    def __init__(self) -> None:
        self.between = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak from here on

    def on_train_batch_start(self, *_: Any) -> None:
        self.between = resident("VmRSS")


def resident(key: str) -> float:
    """VmRSS, what is resident, or VmHWM, its peak; megabytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024 / 1e6


def batch(n_items: int, rank: int, step: int) -> TrainingBatch:
    """Random sequences, other ones on each rank."""
    items = torch.from_numpy(draw_items(SEQUENCES * (EVENTS + 1), n_items, "events", rank, step))
    items = items.view(SEQUENCES, EVENTS + 1)
    return TrainingBatch(
        inputs=items[:, :-1],
        lengths=torch.full((SEQUENCES,), EVENTS),
        targets=items[:, 1:],
        events=NO_COLUMNS,
        rows=torch.arange(SEQUENCES),
        keys=torch.arange(SEQUENCES),
        step_targets=SEQUENCES * EVENTS,
        step_tokens=SEQUENCES * EVENTS,
        position=Position(0, step),
        micro_batch=0,
        after=Position(0, step + 1),
    )


def on_rank(rank: int, n_items: int, strategy: str, folder: Path) -> None:
    """Trains, and prints what it took."""
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)
    store = dist.FileStore(str(folder / "group"), RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS)
    before = resident("VmRSS")
    backbone = {"kind": "gpt2", "layers": 1, "heads": 2, "width": WIDTH}
    settings = ModelSettings.model_validate({"items": {"width": WIDTH}, "backbone": backbone})
    torch.manual_seed(0)
    model = build_model(settings, n_items=n_items, max_length=EVENTS, total_steps=STEPS)
    module = SequenceRecommender(model, OptimizerSettings(), seed=0, total_steps=STEPS)
    memory = Memory()
    trainer = L.Trainer(
        accelerator="cpu", devices=RANKS, strategy=build_strategy(strategy), max_steps=STEPS, callbacks=[memory],
        use_distributed_sampler=False, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader([batch(n_items, rank, step) for step in range(STEPS)], batch_size=None))
    if rank == 0:
        taken = {"peak_mb": resident("VmHWM") - before, "between_steps_mb": memory.between - before}
        print(json.dumps({key: round(value) for key, value in taken.items()}))
    dist.destroy_process_group()


def measure(n_items: int, strategy: str) -> dict[str, Any]:
    """What rank 0 found."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, __file__, "--on-rank", strategy, name, "--items", str(n_items), "--rank"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        ranks = [
            subprocess.Popen([*command, str(rank)], env=environment, stdout=subprocess.PIPE, text=True)
            for rank in range(RANKS)
        ]
        outputs = [rank.communicate()[0] for rank in ranks]
    if any(rank.returncode for rank in ranks):
        raise SystemExit(f"{strategy} at {n_items:,} items failed")
    row = {"items": n_items, "strategy": strategy, **json.loads(outputs[0].splitlines()[-1])}
    print(row, flush=True)
    return row


def extrapolated(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Memory of the largest catalogue on the line through smaller ones."""
    items = [row["items"] for row in rows]
    keys = ("peak_mb", "between_steps_mb")
    found = {key: round(float(np.polyval(np.polyfit(items, [r[key] for r in rows], 1), LARGEST))) for key in keys}
    return {"items": LARGEST, "strategy": rows[0]["strategy"], **found, "computed": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--on-rank", nargs=2, metavar=("STRATEGY", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--items", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.on_rank:
        strategy, folder = arguments.on_rank
        on_rank(arguments.rank, arguments.items, strategy, Path(folder))
        return
    torch.set_num_threads(1)
    ddp = [measure(n_items, "ddp") for n_items in SMALLER]
    sharded = [measure(n_items, "catalogue_parallel") for n_items in (*SMALLER, LARGEST)]
    shape = {"ranks": RANKS, "sequences a rank": SEQUENCES, "events": EVENTS, "width": WIDTH}
    rows = [*ddp, extrapolated(ddp), *sharded]
    print(write_result("catalogue-parallel", {"shape": shape, "steps": STEPS, "rows": rows}))


if __name__ == "__main__":
    main()
