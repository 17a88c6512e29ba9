from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from seqrec.errors import MetricError
from seqrec.evaluation.metrics import rank_histogram, rank_metrics
from seqrec.evaluation.validation import RankHistogram

RANKS = np.random.default_rng(0).integers(-2, 60, 1001)


def in_batches(ranks: np.ndarray, size: int) -> RankHistogram:
    metric = RankHistogram()
    for start in range(0, len(ranks), size):
        metric.update(torch.from_numpy(ranks[start : start + size]))
    return metric


def test_batches_add_up_to_the_metrics_of_all_users():
    computed = in_batches(RANKS, 64).compute()
    assert {name: value.item() for name, value in computed.items()} == rank_metrics(rank_histogram(RANKS, 20))
    assert all(value.dtype == torch.float64 for value in computed.values())


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_reset_forgets_and_an_empty_batch_adds_nothing():
    metric = in_batches(RANKS, 64)
    metric.update(torch.zeros(0, dtype=torch.int64))
    assert int(metric.counts.sum()) == len(RANKS)
    metric.reset()
    with pytest.raises(MetricError, match="no users"):
        metric.compute()


def _process(rank: int, folder: str) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    # unequal shares, in batches of unequal number
    metric = in_batches(RANKS[:300] if rank == 0 else RANKS[300:], 50)
    torch.save(metric.compute(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_give_the_digits_of_one(tmp_path: Path):
    mp.spawn(_process, args=(str(tmp_path),), nprocs=2)
    alone = in_batches(RANKS, 64).compute()
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True) == alone
