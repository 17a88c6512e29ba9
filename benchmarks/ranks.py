"""One recipe on one process and on two: losses step by step, and the evaluation of one checkpoint.

    python benchmarks/ranks.py

On the demo's simulated shop, in float64 with dropout on; writes benchmarks/results/ranks.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import write_result

from seqrec.recipe import training_curve
from seqrec.simulate import simulate_shop, write_shop

RECIPE = Path(__file__).parent.parent / "recipes" / "demo.yaml"
SETTINGS = ["trainer.max_epochs=5", "trainer.log_every_n_steps=1", "trainer.precision=64-true", "loggers=[{kind: csv}]"]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shop(simulate_shop(), folder / "log")
        losses = {n: train(folder, n) for n in (1, 2)}
        evaluations = {n: evaluate(folder, n) for n in (1, 2)}
    differences = [abs(losses[1][step] - losses[2][step]) for step in losses[1]]
    figures = {
        "steps": len(differences),
        "same_steps": losses[1].keys() == losses[2].keys(),
        "largest_loss_difference": max(differences),
        "first_and_last_loss": [losses[1][min(losses[1])], losses[1][max(losses[1])]],
        "evaluations_identical": evaluations[1] == evaluations[2],
        "ndcg@10": json.loads(evaluations[1])["model"]["ndcg@10"],
        "settings": SETTINGS,
    }
    print(json.dumps(figures, indent=2))
    print(write_result("ranks", figures))


def train(folder: Path, processes: int) -> dict[int, float]:
    """Loss by step on so many processes."""
    strategy = "ddp" if processes > 1 else "auto"
    changes = [f"name=on{processes}", f"trainer.devices={processes}", f"trainer.strategy={strategy}"]
    changes += [f"logs.root={folder / 'log'}", f"data.store={folder / 'store'}"]
    seqrec("fit", str(RECIPE), *SETTINGS, *changes, cwd=folder)
    curve = training_curve(folder / "runs" / f"on{processes}", "ndcg@10")
    return {point.step: point.train_loss for point in curve if point.train_loss is not None}


def evaluate(folder: Path, processes: int) -> str:
    """Metrics of the first run's checkpoint, as JSON, on so many processes."""
    file = folder / f"{processes}.json"
    seqrec("evaluate", "runs/on1", "--devices", str(processes), "--json", str(file), cwd=folder)
    return file.read_text()


def seqrec(*arguments: str, cwd: Path) -> None:
    """Runs the command, with one thread a process."""
    subprocess.run(
        ["env", "OMP_NUM_THREADS=1", sys.executable, "-m", "seqrec", *arguments], cwd=cwd, check=True, text=True
    )


if __name__ == "__main__":
    main()
