"""Validation NDCG@10 after each epoch, of seqrec and of its peers, judged by one evaluator.

    SEQREC_DATA=… python benchmarks/curves.py --minutes-each 30

Each system trains with its own recommended settings and hands over the ten items that it lists for every user; that
takes no part in the times. A system stops when it has reached `--target`, has not risen for `--patience` epochs, is at
the end of its recipe, or has used its minutes; one that is too slow for whole epochs is left out. Times to a quality
are epochs × seconds an epoch of benchmarks/training.py, so this one may run on a busy machine. Writes
benchmarks/results/curves.json after every epoch; a curve of today is kept.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from harness import rows_of_today, write_result
from systems import SYSTEMS, Worker, add_choice, find, offers, write_sequences

from seqrec.evaluation import rank_histogram, rank_metrics

NAME = "curves"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choice(parser)
    parser.add_argument("--epochs", type=int, default=200, help="at most")
    parser.add_argument("--target", type=float, default=1.0, help="NDCG@10 at which a system stops")
    parser.add_argument("--patience", type=int, default=15)
    parser.add_argument("--minutes-each", type=float, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = rows_of_today(NAME, fresh=arguments.fresh)
    for data in arguments.datasets:
        file = write_sequences(data, arguments.folder)
        for loss in arguments.losses:
            for name in arguments.systems:
                if not offers(name, loss) or find(rows, data, loss, name):
                    continue
                deadline = time.monotonic() + 60 * arguments.minutes_each
                with Worker(SYSTEMS[name], data, loss, threads=arguments.threads, folder=arguments.folder) as worker:
                    curve: list[float] = []
                    row = {"data": data, "loss": loss, "system": name, "ndcg@10": curve} | worker.ready
                    most = min(arguments.epochs, worker.ready["settings"].get("epochs", arguments.epochs))
                    while len(curve) < most and time.monotonic() < deadline:
                        if worker.epoch()["share"] < 1:
                            print(f"{data}, {loss}, {name}: left out, it does not train whole epochs")
                            break
                        curve.append(round(validation_ndcg(worker.lists("validation")[0], file), 5))
                        print(f"{data}, {loss}, {name}: {len(curve)} {curve[-1]}", flush=True)
                        write_result(NAME, {"rows": [*rows, row]})
                        best = max(curve)
                        if best >= arguments.target or len(curve) - curve.index(best) > arguments.patience:
                            break
                    rows += [row] if curve else []


def validation_ndcg(lists: np.ndarray, file: Path) -> float:
    """NDCG@10 of lists int32 (U, 10) against the last item but one of each user."""
    with np.load(file) as sequences:
        targets = sequences["items"][sequences["offsets"][1:] - 2]
    hit = lists == targets[:, None]
    ranks = np.where(hit.any(axis=1), hit.argmax(axis=1), -1)
    return rank_metrics(rank_histogram(ranks, 10), (10,))["ndcg@10"]


if __name__ == "__main__":
    main()
