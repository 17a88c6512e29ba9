"""The negatives of a step: what was drawn, and how often it was to be expected."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqrec.models.losses.settings import NegativesSettings
from seqrec.random import draw_items, draw_weighted

Int64 = npt.NDArray[np.int64]

_FRACTION_BITS = 20  # of a popularity weight: 2**43 events fit into 63 bits beside them


class Negatives(NamedTuple):
    """Items that every position of a step is told apart from, whatever sources they were drawn from.

    Attributes:
        items: int64 (m,), the different items drawn, ascending.
        counts: float (m,), how often each was drawn, from all sources together.
        log_expected: float (m,), logarithm of how often it was to be drawn: log Σ_sources draws · q(item).
    """

    items: Tensor
    counts: Tensor
    log_expected: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> Negatives:
        """The same, where and as precise as the item table."""
        return Negatives(self.items.to(device), self.counts.to(device, dtype), self.log_expected.to(device, dtype))


class NegativeSampler:
    """Draws the negatives of each step from counters, so that all ranks draw the same and nothing has to be saved.

    Args:
        settings: draws by source.
        n_items: catalogue size N.
        seed: of the draws, with the step.
        train_counts: int64 (N + 1,), training events of each item, index 0 unused; for `popularity` and `in_batch`.
        among: int64, ascending, the items that uniform draws are made from; None for all.
    Raises:
        ValueError: those sources are used, and ``train_counts`` is missing or without any event.
    """

    def __init__(
        self,
        settings: NegativesSettings,
        n_items: int,
        *,
        seed: int,
        train_counts: Int64 | None = None,
        among: Int64 | None = None,
    ):
        self.settings = settings
        self._among = among
        self._n_uniform = n_items if among is None else len(among)
        self._seed = seed
        if not settings.needs_train_counts:
            return
        if train_counts is None or not train_counts.any():
            raise ValueError("popularity and in-batch negatives need the items' training counts (`train_counts`)")
        self._share = train_counts / train_counts.sum()
        if settings.popularity:
            self._weights = popularity_weights(train_counts, settings.popularity_power)
            self._cumulative = np.cumsum(self._weights)

    def draw(self, epoch: int, step: int, in_batch: Int64 | None = None) -> Negatives:
        """The negatives of a step.

        Args:
            epoch, step: name the step.
            in_batch: int64, the step's targets that were chosen as negatives, at most ``settings.in_batch``.
        Returns:
            Negatives on the CPU, in float64.
        """
        key = (self._seed, epoch, step)
        uniform = draw_items(self.settings.uniform, self._n_uniform, "negatives", *key)
        drawn = [uniform if self._among is None else self._among[uniform - 1]]
        if self.settings.popularity:
            drawn.append(draw_weighted(self.settings.popularity, self._cumulative, "popular negatives", *key))
        n_in_batch = 0 if in_batch is None else len(in_batch)
        if in_batch is not None:
            drawn.append(in_batch)
        items, counts = np.unique(np.concatenate(drawn), return_counts=True)
        expected = self._expected(items, n_in_batch)
        return Negatives(
            torch.from_numpy(items), torch.from_numpy(counts.astype(np.float64)), torch.from_numpy(np.log(expected))
        )

    def _expected(self, items: Int64, n_in_batch: int) -> npt.NDArray[np.float64]:
        expected = np.full(len(items), self.settings.uniform / self._n_uniform)
        if self.settings.popularity:
            expected += self.settings.popularity * (self._weights[items] / self._cumulative[-1])
        if n_in_batch:
            expected += n_in_batch * self._share[items]
        return expected


def popularity_weights(train_counts: Int64, power: float) -> Int64:
    """Integer weights in proportion to ``count ** power``, the same on every machine.

    Args:
        train_counts: int64 (N + 1,), >= 0.
        power: 0..1; 0 weighs all items alike that occur at all.
    Returns:
        int64 (N + 1,), 0 where the count is, else at least 2**20 times 1.
    """
    different, place = np.unique(train_counts, return_inverse=True)
    estimate = different.astype(np.float64) ** power * 2**_FRACTION_BITS
    weights = np.where(different > 0, estimate, 0).astype(np.int64)
    # the last bits of a float's power depend on the mathematics library: decimals decide where they would matter
    doubtful = np.abs(estimate - np.rint(estimate)) <= 1e-14 * estimate
    exponent, scale = Decimal(str(power)), Decimal(2**_FRACTION_BITS)
    with localcontext(Context(prec=28)):
        for index in np.flatnonzero(doubtful & (different > 0)):
            weights[index] = int(Decimal(int(different[index])) ** exponent * scale)
    return weights[place]
