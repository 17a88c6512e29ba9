"""What `test_row_gradients.py` asks of real processes: STORE FOLDER; prints JSON, by world size what each rank got.

A script of its own, which forks its ranks after the imports and before anything has started threads.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from torch import nn

from seqrec.models import NextItemSettings, build_head
from seqrec.store import SequenceStore
from seqrec.store.split import resolve
from seqrec.stream import DataSettings, Position, TrainingStream, chosen
from seqrec.training.collectives import gather_over_ranks
from seqrec.training.row_gradients import AverageRowGradients, mean_over_ranks

N_NEGATIVES = 12
WORLD_SIZES = (1, 2, 3)


def on_rank(rank: int, world_size: int, store_path: str, meeting: Path, results: Any) -> None:
    """Puts the negatives of five steps, and the mean of the ranks' gradients, into the queue."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world_size)
    store = SequenceStore(store_path)
    settings = DataSettings(store=store_path, max_length=20, step_tokens=40, partitions=2)
    head = build_head(NextItemSettings())
    stream = TrainingStream(store, resolve(settings.split, store), settings, head, seed=1, in_batch=N_NEGATIVES)
    stream.place(rank, world_size)
    offers = [stream.step(Position(0, step))[0].in_batch for step in range(5)]
    sets = [chosen(gather_over_ranks(offer), N_NEGATIVES).tolist() for offer in offers]
    # of several ranks the last has no rows of its own
    rows = [[rank, rank + 1, rank]] if rank < max(world_size - 1, 1) else [[]]
    values = torch.arange(1.0, 1 + 2 * len(rows[0])).view(-1, 2)
    gradient = torch.sparse_coo_tensor(torch.tensor(rows, dtype=torch.long), values, (5, 2), check_invariants=False)
    table = nn.Parameter(torch.full((2, 2), float(rank)))
    AverageRowGradients(table).on_train_start(L.Trainer(accelerator="cpu", logger=False), L.LightningModule())
    mean = mean_over_ranks(gradient).to_dense().tolist()
    results.put({"sets": sets, "mean": mean, "table": table.tolist()})
    dist.destroy_process_group()


def main(store_path: str, folder: Path) -> None:
    fork = multiprocessing.get_context("fork")
    found = {}
    for world_size in WORLD_SIZES:
        results = fork.SimpleQueue()
        shared = (world_size, store_path, folder / f"meeting-{world_size}", results)
        ranks = [fork.Process(target=on_rank, args=(rank, *shared)) for rank in range(world_size)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
            if process.exitcode:
                raise SystemExit(process.exitcode)
        found[world_size] = [results.get() for _ in ranks]
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
