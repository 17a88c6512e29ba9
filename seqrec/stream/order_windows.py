"""Windows: the consecutive units that are read together and cut into slots."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Slots that a window holds where the data allow. Padded costs then stay within about 3 % above the budget (log-normal
# lengths, mean 9); with 8 slots a window they ran to 24 % above.
MIN_SLOTS = 64


@dataclass(frozen=True)
class Window:
    """Units that are read together, and the slots (batches of like length) that their rows fill.

    Attributes:
        units: indices of the units, ascending, so that those of one shard can be read at once; their rows are
            concatenated in this order.
        first_slot: number of its first slot; in training the slot's number is the step's.
        n_slots: number of its slots, >= 1.
    """

    units: tuple[int, ...]
    first_slot: int
    n_slots: int


def locate(windows: Sequence[Window], slot: int) -> int:
    """Index of the window that holds ``slot``.

    Raises:
        IndexError: no window does.
    """
    if not 0 <= slot < windows[-1].first_slot + windows[-1].n_slots:
        raise IndexError(f"slot {slot} of {windows[-1].first_slot + windows[-1].n_slots}")
    return bisect_right(windows, slot, key=lambda window: window.first_slot) - 1


def number(
    units: npt.NDArray[np.int64], bounds: npt.NDArray[np.int64], n_slots: npt.NDArray[np.int64]
) -> tuple[Window, ...]:
    """Makes windows of the units between ``bounds`` (from `cut`) and numbers their slots through."""
    firsts = np.cumsum(n_slots) - n_slots
    groups = np.split(units, bounds[1:-1])
    return tuple(
        Window(tuple(sorted(members.tolist())), first, n)
        for members, first, n in zip(groups, firsts.tolist(), n_slots.tolist(), strict=True)
    )


def cut(tokens: npt.NDArray[np.int64], most_tokens: int, most_windows: int) -> npt.NDArray[np.int64]:
    """Cuts a list of units into windows of about equally many tokens.

    Args:
        tokens: int64 (n,), training tokens of the units in order, each >= 1.
        most_tokens: tokens of a window. One exceeds it by less than a unit (half of one at each end), or where
            ``most_windows`` forces it to.
        most_windows: >= 1.
    Returns:
        int64 (k + 1,), bounds: window w is ``bounds[w]:bounds[w + 1]``, never empty.
    """
    ends = np.cumsum(tokens)
    total = int(ends[-1])
    n = min(most_windows, -(-total // most_tokens))
    window = (2 * ends - tokens) * n // (2 * total)  # where the middle of the unit falls, in whole numbers
    return np.concatenate([[0], np.flatnonzero(np.diff(window)) + 1, [len(tokens)]]).astype(np.int64)


def apportion(total: int, tokens: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Shares ``total`` slots among windows so that the fullest slot holds as few tokens as can be (D'Hondt's method).

    Args:
        total: slots to give, >= the number of windows.
        tokens: int64 (k,), tokens of the windows.
        rows: int64 (k,), rows of the windows.
    Returns:
        int64 (k,), each >= 1, summing to ``total``; none above its rows if there are ``total`` rows at all, as the
        slots without a row would be idle steps.
    """
    most = rows if rows.sum() >= total else np.full_like(rows, total)
    # At most the final shares, as D'Hondt's method never goes below a quota rounded down and ones take k at most
    slots: npt.NDArray[np.int64] = np.clip((total - len(tokens)) * tokens // tokens.sum(), 1, most)
    fullest = [(-tokens[w] / slots[w], w) for w in np.flatnonzero(slots < most).tolist()]
    heapq.heapify(fullest)
    for _ in range(total - int(slots.sum())):
        w = fullest[0][1]
        slots[w] += 1
        if slots[w] < most[w]:
            heapq.heapreplace(fullest, (-tokens[w] / slots[w], w))
        else:
            heapq.heappop(fullest)
    return slots
