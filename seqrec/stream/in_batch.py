"""Targets of a step as its negatives: the same ones whatever ranks and micro-batches the step is cut into.

Each target of the step has a key, a counter-based random number of its sequence and position. The n targets with the
smallest keys are the step's. A rank offers n of its own, so that the whole step's are among those that all ranks offer.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqrec.random import row_keys, row_words
from seqrec.stream.batches import TrainingBatch

Int64 = npt.NDArray[np.int64]

_LAST = np.iinfo(np.int64).max  # the key of what only fills up


def offered(batches: Iterable[TrainingBatch], n: int, *, seed: int) -> Tensor:
    """What a rank offers.

    Args:
        batches: the rank's micro-batches of a step.
        n: negatives that the step takes.
        seed: of the keys, with the epoch and each target's sequence and position.
    Returns:
        int64 (n, 2): keys, ascending, and their targets; item 0 where the rank has fewer targets.
    """
    if not n:
        return torch.empty(0, 2, dtype=torch.long)
    pairs = [_keyed(batch, seed) for batch in batches if len(batch.rows)]
    return torch.from_numpy(_smallest(np.concatenate([np.empty((0, 2), np.int64), *pairs]), n))


def chosen(offers: Tensor, n: int) -> Int64:
    """The step's negatives.

    Args:
        offers: int64 (k, 2), what all ranks offer.
        n: as for `offered`.
    Returns:
        int64 (n,), items, fewer where the step has fewer targets.
    """
    items = _smallest(offers.cpu().numpy(), n)[:, 1]
    return items[items > 0]


def _keyed(batch: TrainingBatch, seed: int) -> Int64:
    targets = batch.targets.numpy()
    keys = row_keys(seed, batch.position.epoch, batch.keys.numpy(), "in-batch negatives")
    words = (row_words(keys, np.arange(targets.shape[1])) >> np.uint64(1)).astype(np.int64)
    real = targets > 0
    return np.stack([words[real], targets[real]], axis=1)


def _smallest(pairs: Int64, n: int) -> Int64:
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))[:n]
    filling = np.tile(np.array([[_LAST, 0]]), (n - len(order), 1))
    return np.concatenate([pairs[order], filling])
