"""Seconds an epoch of SASRec in seqrec and in its peers: same data, sizes, threads and machine, in turn.

    SEQREC_DATA=… python benchmarks/training.py

An epoch of seqrec comes before each epoch of a peer. Only training is timed: no validation, no checkpoints. A system
stops when its next epoch would exceed `--seconds-each`; where it has more than one, the first does not count. Writes
benchmarks/results/training.json after each data set and loss, and goes on from there on the same day.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from statistics import median
from typing import Any

import torch
from harness import rows_of_today, write_result
from systems import OWN, SYSTEMS, Worker, add_choice, find, offers, write_sequences

NAME = "training"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choice(parser)
    parser.add_argument("--epochs", type=int, default=4, help="of each peer, at most; the first does not count")
    parser.add_argument("--seconds-each", type=float, default=300, help="of training, for one peer on one combination")
    parser.add_argument("--budget-minutes", type=float, default=60, help="no combination begins after that")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = rows_of_today(NAME, fresh=arguments.fresh)
    deadline = time.monotonic() + 60 * arguments.budget_minutes
    for loss in arguments.losses:
        for data in arguments.datasets:
            missing = [name for name in arguments.systems if not find(rows, data, loss, name) and offers(name, loss)]
            if not missing:
                continue
            if time.monotonic() > deadline:
                print(f"{data}, {loss}: left out, the budget is spent")
                continue
            write_sequences(data, arguments.folder)
            for row in measure(data, loss, [name for name in missing if name != OWN], arguments):
                old = find(rows, data, loss, row["system"])
                if old:  # seqrec again, beside a peer that was missing
                    old["seconds"] += row["seconds"]
                else:
                    rows.append(row)
            write_result(NAME, {"rows": [row | {"seconds_an_epoch": summary(row)} for row in rows]})


def measure(data: str, loss: str, peers: list[str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Epochs in turn."""
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                Worker(SYSTEMS[name], data, loss, threads=arguments.threads, folder=arguments.folder)
            )
            for name in (OWN, *peers)
        }
        rows = {
            name: {"data": data, "loss": loss, "system": name, "seconds": [], "share": 1.0} | worker.ready
            for name, worker in workers.items()
        }

        def epoch(name: str) -> None:
            event = workers[name].epoch()
            rows[name]["seconds"].append(event["seconds"])
            rows[name]["share"] = event["share"]
            print(f"{data}, {loss}, {name}: {event['seconds'] / event['share']:.2f} s", flush=True)

        going = list(peers)
        for _ in range(arguments.epochs):
            if not peers:
                epoch(OWN)
            for name in going:
                epoch(OWN)
                epoch(name)
            going = [name for name in going if fits(rows[name]["seconds"], arguments.seconds_each)]
    return list(rows.values())


def fits(seconds: list[float], limit: float) -> bool:
    """Whether another epoch does."""
    return sum(seconds) + seconds[-1] <= limit


def summary(row: dict[str, Any]) -> float:
    """Median seconds of a whole epoch, the first one left out where there are more."""
    counted = row["seconds"][1:] or row["seconds"]
    return round(median(counted) / row["share"], 3)


if __name__ == "__main__":
    main()
