"""One recipe on one process and on two: losses step by step, and the evaluation of one checkpoint.

    python benchmarks/ranks.py

On the demo's simulated shop, in float64 with dropout on; writes benchmarks/results/ranks.json.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from harness import losses_of, seqrec, train_demo, write_result

from seqrec.simulate import simulate_shop, write_shop

SETTINGS = ["trainer.max_epochs=5", "trainer.log_every_n_steps=1", "trainer.precision=64-true", "loggers=[{kind: csv}]"]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shop(simulate_shop(), folder / "log")
        losses = {n: losses_of(train_demo(folder, f"on{n}", n, SETTINGS)) for n in (1, 2)}
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


def evaluate(folder: Path, processes: int) -> str:
    """Metrics of the first run's checkpoint, as JSON, on so many processes."""
    file = folder / f"{processes}.json"
    seqrec("evaluate", "runs/on1", "--devices", str(processes), "--json", str(file), folder=folder)
    return file.read_text()


if __name__ == "__main__":
    main()
