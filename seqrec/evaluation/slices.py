"""Groups of users that are also measured apart: by what their target is, and by what is known of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqrec.evaluation.exact import Ints

_LENGTHS = (5, 10, 20, 50, 100)  # upper bounds of history lengths


class Slice(NamedTuple):
    """One group of users.

    Attributes:
        by: what the users are told apart by: `target`, `history` or `user`.
        label: which of them these are.
    """

    by: str
    label: str


class Slices:
    """Puts each user into one slice of each kind.

    - `target`: cold (no training event), or tail, middle or head: by training events, each about a third of them all.
    - `history`: events of the history.
    - `user`: new (no event that is trained on) or known.

    Args:
        training_counts: int64 (N,), training events of each item, row r for item r + 1.

    Attributes:
        names: the slices; others refer to them by their place.
    """

    def __init__(self, training_counts: Ints):
        self._training_counts = training_counts
        self._bounds = _thirds(training_counts)
        middle, head = self._bounds
        ends = [*_LENGTHS, None]
        self.names = (
            Slice("target", "cold"),
            Slice("target", f"tail, {_span(1, middle - 1)} training events"),
            Slice("target", f"middle, {_span(middle, head - 1)} training events"),
            Slice("target", f"head, {_span(head, None)} training events"),
            *(
                Slice("history", f"{_span(start + 1, end)} events")
                for start, end in zip([0, *_LENGTHS], ends, strict=True)
            ),
            Slice("user", "new"),
            Slice("user", "known"),
        )

    def places(self, targets: Ints, history_lengths: Ints, trained: Ints) -> Ints:
        """The slices of some users.

        Args:
            targets: int64 (U,), 1..N.
            history_lengths: int64 (U,), >= 1.
            trained: int64 (U,), events of each that are trained on.
        Returns:
            int64 (3, U), places in ``names``.
        """
        popularity = np.searchsorted([1, *self._bounds], self._training_counts[targets - 1], side="right")
        length = 4 + np.searchsorted(_LENGTHS, history_lengths, side="left")
        user = len(self.names) - 2 + (trained > 0)
        return np.stack([popularity, length, user]).astype(np.int64)


def _thirds(training_counts: Ints) -> tuple[int, int]:
    """Least training events of an item of the middle and of the head."""
    ordered = np.sort(training_counts)[::-1]
    done = np.cumsum(ordered)
    if not len(done) or not done[-1]:
        return 2, 3
    head, middle = (int(ordered[np.searchsorted(done * 3, share * done[-1])]) for share in (1, 2))
    middle = max(2, middle)
    return middle, max(middle + 1, head)


def _span(first: int, last: int | None) -> str:
    if last is None:
        return f"{first:,} or more"
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"
