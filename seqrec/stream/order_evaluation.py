"""The order of validation and test: no shuffle, no filler rows, and the same batches at every world size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqrec.errors import StoreError
from seqrec.stream.order_runs import like_length_runs
from seqrec.stream.order_windows import MIN_SLOTS, Window, cut, locate, number


@dataclass(frozen=True)
class EvaluationPlan:
    """Batches 0..n_batches - 1, of which each rank takes a run, so that it reads its share of the windows only.

    Ranks differ by one batch at most; the loader gives those with fewer an empty one. Metric states are summed at the
    end.

    Attributes:
        windows: units in the store's order; their slots are the batches.
    """

    windows: tuple[Window, ...]

    @property
    def n_batches(self) -> int:
        """Batches of all ranks together, known before anything is read."""
        return self.windows[-1].first_slot + self.windows[-1].n_slots

    def batches_of(self, rank: int, world_size: int) -> range:
        """Numbers of the batches of one rank, ascending."""
        return range(self.n_batches * rank // world_size, self.n_batches * (rank + 1) // world_size)

    def window_at(self, batch: int) -> int:
        """Index of the window that holds ``batch``; IndexError past the end."""
        return locate(self.windows, batch)

    def batches(self, window: int, lengths: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        """The batches of one window, shortest rows first.

        Args:
            window: index into ``windows``.
            lengths: int64 (rows,), tokens of the window's rows: its units in order, rows ascending.
        Returns:
            For each of the window's batches, int64 positions in ``lengths``, none empty; batch i has the number
            ``first_slot + i``.
        """
        return like_length_runs(lengths, self.windows[window].n_slots)


def evaluation_plan(
    rows: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64], *, batch_tokens: int, window_tokens: int
) -> EvaluationPlan:
    """Plans an evaluation from counts; reads nothing.

    Args:
        rows: int64 (units,), rows to evaluate in each unit; 0 is fine.
        tokens: int64 (units,), tokens of those rows, at least one a row.
        batch_tokens: tokens of a batch, on average.
        window_tokens: tokens a window holds, about; raised to 64 batches' worth.
    Returns:
        The plan: each row is in one batch, the same whatever the world size.
    Raises:
        StoreError: no unit has a row.
        ValueError: a setting < 1, or a unit with fewer tokens than rows.
    """
    if batch_tokens < 1 or (tokens < rows).any():
        raise ValueError(f"batch_tokens={batch_tokens}: from 1; a unit's tokens from its rows")
    units = np.flatnonzero(rows)
    if not len(units):
        raise StoreError(
            f"none of {len(rows):,} units has a sequence to evaluate",
            do="check the split protocol: its cut may leave no user with both a history and a target",
        )
    bounds = cut(tokens[units], max(window_tokens, MIN_SLOTS * batch_tokens), len(units))
    batches = -(-np.add.reduceat(tokens[units], bounds[:-1]) // batch_tokens)
    return EvaluationPlan(number(units, bounds, np.minimum(batches, np.add.reduceat(rows[units], bounds[:-1]))))
