"""What saving costs: tokens a second with a checkpoint every 50 steps, beside one at the end only.

    python benchmarks/saving.py

The demo's simulated shop with a model of some millions of parameters, on one process, by turns; hashes and flushes to
disk are in it. Writes benchmarks/results/saving.json.
"""

from __future__ import annotations

import csv
import json
import statistics
import tempfile
from pathlib import Path

from harness import train_demo, write_result

from seqrec.recipe import Run
from seqrec.simulate import simulate_shop, write_shop

SETTINGS = [
    "data.step_tokens=192",
    "trainer.max_epochs=1",
    "trainer.max_steps=200",
    "trainer.log_every_n_steps=200",
    "model.items.width=256",
    "model.backbone.width=256",
    "loggers=[{kind: csv}]",
]
ROUNDS = 3


def main() -> None:
    rates: dict[str, list[float]] = {"null": [], "50": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shop(simulate_shop(), folder / "log")
        for turn in range(ROUNDS):
            for every, found in rates.items():
                settings = [*SETTINGS, f"selection.save_every_steps={every}"]
                run = train_demo(folder, f"every-{every}-{turn}", 1, settings)
                found.append(tokens_per_second(run))
        state = Run(run).last.state
        figures = {
            "state_bytes": state.stat().st_size,
            "steps": Run(run).last.step,
            "tokens_per_second": {f"every {every}": rates[every] for every in rates},
            "with_saving_as_part_of_without": statistics.median(rates["50"]) / statistics.median(rates["null"]),
            "settings": SETTINGS,
        }
    print(json.dumps(figures, indent=2))
    print(write_result("saving", figures))


def tokens_per_second(run: Path) -> float:
    """Over the whole epoch, as the last logged step tells."""
    with next(run.glob("csv/*/metrics.csv")).open() as file:
        return [float(row["tokens/s"]) for row in csv.DictReader(file) if row.get("tokens/s")][-1]


if __name__ == "__main__":
    main()
