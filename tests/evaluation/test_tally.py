from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from seqrec.errors import MetricError
from seqrec.evaluation.list_measures import novelty_measure
from seqrec.evaluation.results import MetricValue
from seqrec.evaluation.tally import Tally

COUNTS = np.arange(200)[::-1] ** 5  # squares of whose sums do not fit 64 bits
FAMILIES = ("hr", "ndcg", "mrr", "coverage", "gini", "popularity", "novelty")


def users(n: int = 500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Store rows, ranks and lists."""
    rng = np.random.default_rng(0)
    tops = np.argsort(rng.random((n, 200)) + np.arange(200) / 100, axis=1)[:, :20] + 1
    tops[::7, 15:] = 0
    return np.arange(n) * 3, rng.integers(-1, 40, n), tops


def tally(some: slice | np.ndarray = slice(None), *, batch: int = 64) -> Tally:
    rows, ranks, tops = (column[some] for column in users())
    counted = Tally(COUNTS, measures=[novelty_measure(COUNTS)], n_slices=3, n_users=1500)
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        slices = np.stack([rows[part] % 2, np.full_like(rows[part], 2)])
        counted.add(rows[part], ranks[part], tops[part], slices=slices)
    return counted


def test_every_metric_lies_in_its_interval():
    measured = tally().metrics()
    assert list(measured) == [f"{name}@{k}" for name in FAMILIES for k in (5, 10, 20)]
    with_interval = {name: metric for name, metric in measured.items() if not name.startswith("gini")}
    assert all(metric.low < metric.value < metric.high for metric in with_interval.values())
    assert 0 < measured["gini@20"].value < measured["gini@5"].value < 1


def test_neither_batches_nor_the_order_of_users_change_a_digit():
    order = np.random.default_rng(1).permutation(500)
    assert tally().metrics() == tally(batch=500).metrics() == tally(order, batch=7).metrics()
    assert tally().metrics() != tally().metrics(seed=1)


def test_intervals_of_certain_metrics_are_points():
    certain = Tally(np.ones(40, np.int64))
    certain.add(np.arange(50), np.zeros(50, np.int64), np.tile(np.arange(1, 21), (50, 1)))
    measured = certain.metrics()
    assert measured["ndcg@5"] == MetricValue(1.0, 1.0, 1.0)
    assert measured["popularity@5"] == MetricValue(1.0, 1.0, 1.0)
    assert measured["coverage@5"] == MetricValue(5 / 40, 5 / 40, 5 / 40)


def test_list_metrics_cut_the_lists():
    counted = Tally(np.array([6, 2, 1, 0]), [1, 3])
    counted.add(np.arange(2), np.zeros(2, np.int64), np.array([[1, 2, 3], [1, 3, 2]]))
    values = {name: metric.value for name, metric in counted.metrics().items()}
    assert (values["coverage@1"], values["coverage@3"]) == (1 / 4, 3 / 4)
    assert (values["popularity@1"], values["popularity@3"]) == (6, 3)


def test_slices_and_single_users_are_counted():
    rows, ranks, _ = users()
    counted = tally()
    hits = np.where((ranks >= 0) & (ranks < 20), ranks, 20)
    assert (counted.slice_ranks[2] == np.bincount(hits, minlength=21)).all()
    assert (counted.slice_ranks[1] == np.bincount(hits[rows % 2 == 1], minlength=21)).all()
    assert (counted.slice_ranks[0] + counted.slice_ranks[1] == counted.slice_ranks[2]).all()
    assert (counted.rank_of_user[rows] == np.where(hits < 20, hits + 1, 255)).all()
    assert np.count_nonzero(counted.rank_of_user) == 500


def test_no_users_is_an_error():
    with pytest.raises(MetricError, match="no users to evaluate"):
        Tally(COUNTS).metrics()


def _process(rank: int, folder: str) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=3)
    # unequal shares, one of them of nobody
    counted = tally([slice(0, 300), slice(300, 500), slice(0, 0)][rank], batch=50)
    counted.sum_over_ranks(torch.device("cpu"))
    whole = tally()
    assert counted.metrics() == whole.metrics()
    assert (counted.slice_ranks == whole.slice_ranks).all()
    assert (counted.rank_of_user == whole.rank_of_user).all()
    dist.destroy_process_group()
    (Path(folder) / f"{rank}.equal").touch()


def test_three_processes_give_the_digits_of_one(tmp_path: Path):
    mp.spawn(_process, args=(str(tmp_path),), nprocs=3)
    assert len(list(tmp_path.glob("*.equal"))) == 3
