"""What saving costs: tokens a second with checkpoints within the epoch, waited for or in the background, beside none.

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
NONE = "at the end only"
WAYS = {
    NONE: ["selection.save_every_steps=null"],
    "every 50 steps": ["selection.save_every_steps=50"],
    "every 5 steps": ["selection.save_every_steps=5"],
    "every 5 steps, in the background": ["selection.save_every_steps=5", "selection.save_in_background=true"],
}
ROUNDS = 3


def main() -> None:
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_shop(simulate_shop(), folder / "log")
        for turn in range(ROUNDS):
            for number, (name, way) in enumerate(WAYS.items()):
                run = train_demo(folder, f"way-{number}-{turn}", 1, [*SETTINGS, *way])
                rates[name].append(tokens_per_second(run))
        state = Run(run).last.state
        figures = {
            "state_bytes": state.stat().st_size,
            "steps": Run(run).last.step,
            "tokens_per_second": rates,
            "as_part_of_without": {
                name: statistics.median(rates[name]) / statistics.median(rates[NONE]) for name in WAYS if name != NONE
            },
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
