"""One training on 1, 2 and 3 processes: losses side by side, and how far the final weights lie apart.

    python benchmarks/exactness.py

The demo's simulated shop, three epochs, dropout on, in float64 and in float32, where AdamW lets differences of the
last bit grow, as its step hardly depends on the size of a gradient. Writes benchmarks/results/exactness.json.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from harness import losses_of, train_demo, write_result

from seqrec.recipe import Run
from seqrec.simulate import simulate_shop, write_shop
from seqrec.training import read_checkpoint

RANKS = (1, 2, 3)
SETTINGS = [
    "data.partitions=4",
    "trainer.max_epochs=3",
    "trainer.log_every_n_steps=1",
    "loggers=[{kind: csv}]",
]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shop(simulate_shop(), folder / "log")
        figures = {precision: compare(folder, precision) for precision in ("64-true", "32-true")}
    print(figures)
    print(write_result("exactness", figures | {"settings": SETTINGS}))


def compare(folder: Path, precision: str) -> dict[str, Any]:
    settings = [*SETTINGS, f"trainer.precision={precision}"]
    runs = {ranks: train_demo(folder, f"on-{ranks}-{precision}", ranks, settings) for ranks in RANKS}
    losses = {ranks: losses_of(run) for ranks, run in runs.items()}
    steps = sorted(losses[1])
    assert all(sorted(other) == steps for other in losses.values())
    shown = steps[:: max(1, len(steps) // 10)]
    return {
        "steps": len(steps),
        "losses": {f"step {step}": [losses[ranks][step] for ranks in RANKS] for step in shown},
        "largest_loss_difference": max(abs(losses[ranks][s] - losses[1][s]) for ranks in RANKS for s in steps),
        "largest_relative_weight_difference": {
            f"1 and {ranks} processes": weight_difference(runs[1], runs[ranks]) for ranks in RANKS[1:]
        },
    }


def weight_difference(one: Path, other: Path) -> float:
    """The largest norm of a tensor's difference, as a part of the tensor's norm."""
    states = [read_checkpoint(Run(run).last.state)["state_dict"] for run in (one, other)]
    differences = [(states[1][name] - weight).norm() / weight.norm() for name, weight in states[0].items()]
    return float(torch.stack(differences).nan_to_num(0.0).max())  # 0 / 0 where a tensor has stayed zero


if __name__ == "__main__":
    main()
