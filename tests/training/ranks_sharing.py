"""What `test_shared_memory.py` asks of real processes: FOLDER; prints JSON, by case what each rank says.

A script of its own, which forks its ranks after the imports and before anything has started threads.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from seqrec.training.rank_watch import is_collective_failure
from seqrec.training.shared_memory import PIECE, AverageInSharedMemory, SharedAverage

TIMEOUT_S = 3
DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.float64, torch.bfloat16)}
LENGTHS = (1, 2, 1000, PIECE // 4, PIECE // 4 + 1, 3 * PIECE // 4 + 5)


def values(rank: int, length: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * rank + length)
    return torch.randn(length, generator=generator, dtype=torch.float64).to(dtype)


def averages(rank: int) -> dict[str, Any]:
    """By dtype the largest error of an element, and a sum that tells whether ranks have the same bits."""
    average, ranks = opened(), dist.get_world_size()
    found = {}
    for name, dtype in DTYPES.items():
        errors, bits = [], []
        for length in LENGTHS:
            of_ranks = torch.stack([values(each, length, dtype) for each in range(ranks)])
            mean = average(of_ranks[rank].clone())
            errors.append(float((mean - of_ranks.double().mean(0)).abs().max()))
            bits.append(int(mean.view(torch.uint8).long().cumsum(0).sum()))
        found[name] = [max(errors), bits]
    return found


def one_dies(rank: int) -> dict[str, Any]:
    average = opened()
    dist.barrier()
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return failure(average)


def one_does_not_come(rank: int) -> dict[str, Any]:
    average = opened()
    if rank == 1:
        time.sleep(2 * TIMEOUT_S)
        return {}
    return failure(average)


def failure(average: SharedAverage) -> dict[str, Any]:
    began = time.monotonic()
    try:
        average(torch.ones(10))
    except dist.DistError as error:
        took = time.monotonic() - began
        time.sleep(TIMEOUT_S)  # as a rank does while it looks who is missing, its connections still there
        return {"error": str(error), "known": is_collective_failure(error), "seconds": took}
    return {}


def one_cannot_connect(rank: int) -> dict[str, Any]:
    if rank == 1:

        def refuse(link: socket.socket, address: Any) -> None:
            raise ConnectionRefusedError("no such place")

        socket.socket.connect = refuse  # type: ignore[method-assign, assignment]
    return {"opened": SharedAverage.open(None) is not None}


class Learner(L.LightningModule):
    """Its gradient on a rank is the rank's number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(7))
        self.averages: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.weight.sum() * self.global_rank

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        assert self.weight.grad is not None
        self.averages.append(float(self.weight.grad[-1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def under_lightning(rank: int) -> dict[str, Any]:
    """The gradients of two steps of two micro-batches, and how often they were averaged in shared memory."""
    calls = []
    plain = SharedAverage.__call__

    def counted(average: SharedAverage, gradient: Tensor) -> Tensor:
        calls.append(len(gradient))
        return plain(average, gradient)

    SharedAverage.__call__ = counted  # type: ignore[method-assign]
    os.environ["LOCAL_RANK"] = str(rank)
    learner = Learner()
    trainer = L.Trainer(
        accelerator="cpu", devices=dist.get_world_size(), strategy="ddp", max_steps=2, accumulate_grad_batches=2,
        use_distributed_sampler=False, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[AverageInSharedMemory()],
    )  # fmt: skip
    trainer.fit(learner, DataLoader(torch.zeros(4)))
    return {"averages": learner.averages, "calls": calls}


CASES: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {
    "averages of 2": (averages, 2),
    "averages of 3": (averages, 3),
    "one dies": (one_dies, 3),
    "one does not come": (one_does_not_come, 3),
    "one cannot connect": (one_cannot_connect, 3),
    "under Lightning": (under_lightning, 2),
}


def opened() -> SharedAverage:
    average = SharedAverage.open(timedelta(seconds=TIMEOUT_S))
    assert average is not None
    return average


def on_rank(rank: int, case: str, meeting: Path, results: Any) -> None:
    torch.set_num_threads(1)
    ask, world_size = CASES[case]
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world_size)
    results.put((rank, ask(rank)))


def main(folder: Path) -> None:
    fork = multiprocessing.get_context("fork")
    found: dict[str, dict[int, Any]] = {}
    for number, (case, (_, world_size)) in enumerate(CASES.items()):
        results = fork.SimpleQueue()
        shared = (case, folder / f"meeting-{number}", results)
        ranks = [fork.Process(target=on_rank, args=(rank, *shared)) for rank in range(world_size)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
        said = dict(results.get() for process in ranks if process.exitcode == 0)
        found[case] = said
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
