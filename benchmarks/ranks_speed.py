"""Events a second of two processes with one thread each beside one process with two threads.

    SEQREC_DATA=… python benchmarks/ranks_speed.py

Amazon Beauty, one block of width 64, the full softmax and 256 sampled negatives. Small and large steps, since what
ranks tell each other takes as long in both. Beside them two processes that train apart, each in steps of half the
tokens: what no way of telling each other could exceed, as long as each updates all parameters. All ways alternated. An
epoch's rate is what the run itself logs at its last logged step; the first epoch warms up. Then the averaging of such a
gradient alone, over gloo and in shared memory. Two cores and nothing beside this should run. Writes
benchmarks/results/ranks-speed.json.
"""

from __future__ import annotations

import csv
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import product, repeat
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from harness import RECIPES, on_processes, seqrec, write_result
from torch import Tensor

from seqrec.training.shared_memory import SharedAverage

RECIPE = RECIPES / "amazon-beauty-causal.yaml"
EPOCHS, ROUNDS = 3, 3
LOSSES = {"full": "{kind: full_softmax}", "sampled": "{kind: sampled_softmax, negatives: {uniform: 256}}"}
STEP_TOKENS = (4096, 16_384)
PARAMETERS, AVERAGES = 803_072, 300  # of the model
THREADS, PROCESSES, APART = "1 process, 2 threads", "2 processes, 1 thread", "2 processes apart, 1 thread"
WAYS = (THREADS, PROCESSES, APART)
SETTINGS = [
    "model.items.width=64",
    "model.backbone.width=64",
    "selection.patience=null",
    "trainer.limit_val_batches=0",
    f"trainer.max_epochs={EPOCHS}",
    "trainer.log_every_n_steps=10",
]


def main() -> None:
    taken: dict[tuple[str, int], dict[str, list[float]]] = {
        case: {way: [] for way in WAYS} for case in product(LOSSES, STEP_TOKENS)
    }
    with tempfile.TemporaryDirectory() as name:
        for _ in range(ROUNDS):
            for (loss, step_tokens), ways in taken.items():
                for way, rates in ways.items():
                    rates.append(measure(Path(name), loss, step_tokens, way))
                    print(f"{loss}, {step_tokens} tokens, {way}: {rates[-1]:,.0f} events/s", flush=True)
    rows = [{"loss": loss, "step_tokens": step_tokens} | compare(ways) for (loss, step_tokens), ways in taken.items()]
    figures = {"rows": rows, "averaging_ms": averaging(), "parameters": PARAMETERS, "settings": SETTINGS}
    print(write_result("ranks-speed", figures))


def compare(rates: dict[str, list[float]]) -> dict[str, Any]:
    """Rates and the medians of their ratios, round by round."""

    def over_threads(way: str) -> float:
        ratios = [other / one for one, other in zip(rates[THREADS], rates[way], strict=True)]
        return round(statistics.median(ratios), 3)

    return {
        "events_per_second": {way: [*map(round, rates[way])] for way in WAYS},
        "two_processes_over_two_threads": over_threads(PROCESSES),
        "two_processes_apart_over_two_threads": over_threads(APART),
    }


def measure(folder: Path, loss: str, step_tokens: int, way: str) -> float:
    """Events a second of the best epoch, but for the first; of both processes together."""
    changes = [f"data.store={folder / 'store'}", f"model.loss={LOSSES[loss]}"]
    if way != APART:
        n, threads = (1, 2) if way == THREADS else (2, 1)
        return train(folder, "speed", [*changes, f"data.step_tokens={step_tokens}", *on_processes(n)], threads)
    changes += [f"data.step_tokens={step_tokens // 2}", *on_processes(1)]
    with ThreadPoolExecutor() as pool:
        apart = [pool.submit(train, folder, f"speed-{i}", changes, 1) for i in range(2)]
        return sum(rate.result() for rate in apart)


def train(folder: Path, name: str, changes: list[str], threads: int) -> float:
    """Events a second of the best epoch, but for the first."""
    changes = [*SETTINGS, *changes, f"name={name}", "trainer.enable_progress_bar=false"]
    seqrec("fit", str(RECIPE), "--fresh", *changes, folder=folder, threads=threads)
    with (folder / f"runs/{name}/csv/version_0/metrics.csv").open() as file:
        rows = [(int(row["epoch"]), float(row["tokens/s"])) for row in csv.DictReader(file) if row["tokens/s"]]
    last = dict(rows)  # of each epoch the last, whose clock began with the epoch
    return max(rate for epoch, rate in last.items() if epoch > 0)


def averaging() -> dict[str, float]:
    """Median milliseconds of both ways, in turn, on two processes of one thread."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(2, spawn) as ranks:
        first, _ = ranks.map(average, range(2), repeat(f"{name}/meeting"))
    return first


def average(rank: int, meeting: str) -> dict[str, float]:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    shared = SharedAverage.open(None)
    assert shared is not None
    ways: dict[str, Callable[[Tensor], Any]] = {"gloo": dist.all_reduce, "shared memory": shared}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(AVERAGES):
        for way, call in ways.items():
            gradient = torch.ones(PARAMETERS)
            dist.barrier()
            began = time.perf_counter()
            call(gradient)
            taken[way].append(1e3 * (time.perf_counter() - began))
    return {way: round(statistics.median(ms), 3) for way, ms in taken.items()}


if __name__ == "__main__":
    main()
