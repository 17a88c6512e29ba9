"""Methods of fine-tuning compared on Amazon Beauty: MiniLM over ids, and the first 8 blocks of SmolLM2.

    SEQREC_DATA=… python benchmarks/peft_methods.py minilm     # about an hour of two cores, and as long for smollm2

Runs `seqrec benchmark peft` on processes of one thread, which share the work, and goes on where it was stopped. MiniLM
trains for one epoch on all users, SmolLM2 for two on the first 4,000, since two cores allow no more: the figures tell
methods apart at that budget, and nothing about how good either can become. The item table, which begins at random and
is the same for all, has a learning rate of its own, so that the search is about what methods differ in. Writes
benchmarks/results/peft-MODEL.json and the plot docs/peft-MODEL.svg.
"""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import RECIPES, write_result
from smollm2 import write_model

from seqrec.evaluation.charts import TradeOffPoint, trade_off_chart
from seqrec.peft_benchmark import BenchmarkResult, read_result

DOCS = Path(__file__).parent.parent / "docs"
LEARNING_RATES = {"minilm": [1e-4, 3e-4, 1e-3], "smollm2": [3e-4, 1e-3, 3e-3]}  # around what a wider search chose
METHODS = "full,head_only,lora,dora,adalora,ia3,layer_norm,bottleneck,prefix"
COMMON = [
    "model.loss={kind: sampled_softmax, negatives: {uniform: 1024}}",
    "data.split={kind: leave_one_out, validation_users: 4000}",
    "data.step_tokens=512",  # many small steps, as there are few epochs
    "optimizer.table_lr=1e-2",
    "trainer.log_every_n_steps=10",
]
COLOURS = {"ink": "#171c26", "muted": "#626b7c", "line": "#e2e6ec", "model": "#3257d6", "second": "#b4690e"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=["minilm", "smollm2"])
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--lr", type=float, nargs="+", help="default: three around the best of a wider search")
    parser.add_argument("--processes", type=int, default=2, help="at once, of one thread each")
    parser.add_argument("--folder", type=Path, default=Path("peft-methods"), help="for store, models and runs")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    recipe, places, length = minilm(folder) if arguments.model == "minilm" else smollm2(folder)
    out = folder / arguments.model
    rates = arguments.lr or LEARNING_RATES[arguments.model]
    options = ["--methods", arguments.methods, *(word for lr in rates for word in ("--lr", str(lr)))]
    share([str(recipe), *COMMON, *places, *length, *options, "--out", str(out)], arguments.processes)
    result = read_result(out)
    draw(result, DOCS / f"peft-{arguments.model}.svg")
    print(write_result(f"peft-{arguments.model}", figures(result, [*COMMON, *length], arguments.processes)))


def minilm(folder: Path) -> tuple[Path, list[str], list[str]]:
    """Recipe, where its data lie, and how long it trains: all users, one epoch, two validations in it."""
    length = ["trainer.max_epochs=1", "trainer.val_check_interval=0.5"]
    return RECIPES / "amazon-beauty-minilm-lora.yaml", [f"data.store={folder / 'beauty'}"], length


def smollm2(folder: Path) -> tuple[Path, list[str], list[str]]:
    """Recipe, where its data lie, and how long it trains: the log's first users, two epochs."""
    log, model = folder / "events.txt.gz", folder / "smollm2-8-layers"
    if not log.exists():
        with gzip.open(Path(os.environ["SEQREC_DATA"]) / "amazon-beauty" / "Beauty.txt.gz", "rt") as every:
            lines = every.readlines()[:4000]
        with gzip.open(log, "wt") as file:
            file.writelines(lines)
    write_model(model, layers=8)
    places = [f"logs.sources=[{log.absolute()}]", f"data.store={folder / 'beauty-4000'}"]
    places += [f"model.backbone.source={model.absolute()}"]
    length = ["data.split={kind: leave_one_out}", "trainer.max_epochs=2"]
    return RECIPES / "amazon-beauty-smollm2-lora.yaml", places, length


def share(arguments: list[str], count: int) -> None:
    """The same command several times at once; each process takes experiments that no other is at."""
    command = [sys.executable, "-m", "seqrec", "benchmark", "peft", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen(command, env=environment) for _ in range(count)]
    ended = [process.wait() for process in processes]
    if any(ended):
        raise SystemExit("a process ended with an error, see above")


def figures(result: BenchmarkResult, settings: list[str], processes: int) -> dict[str, Any]:
    """What the table is made of."""
    rows = [
        experiment.model_dump(mode="json", exclude={"curves"})
        | {"seconds_to_quality": experiment.seconds_to(result.quality), "lr_at_edge": experiment.lr_at_edge}
        for experiment in result.experiments
    ]
    return {
        "rows": rows,
        "protocol": result.protocol.model_dump(mode="json", exclude={"versions"}),
        "advice": result.advice,
        "agreement_of_seeds": result.agreement_of_seeds,
        "quality": result.quality,
        "settings": settings,
        "processes": processes,
    }


def draw(result: BenchmarkResult, path: Path) -> None:
    """The plot as a file of its own, which has no page to take its colours from."""
    points = [
        TradeOffPoint(e.name, max(1, e.parameters), e.test.value, e.test.low, e.test.high) for e in result.experiments
    ]
    cost = "trainable parameters in the backbone"
    chart = trade_off_chart(points, cost=cost, metric=result.protocol.metric, marked=result.advised.name)
    style = "".join(f"--{name}: {colour}; " for name, colour in {**COLOURS, "baseline": "#7a8699"}.items())
    path.write_text(chart.replace("<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" style="{style}" ', 1) + "\n")


if __name__ == "__main__":
    main()
