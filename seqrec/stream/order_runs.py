"""Runs: the rows of a window, sorted by length and cut into batches of about equal padded cost."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seqrec.random import KeyPart, perm


def slot_runs(lengths: npt.NDArray[np.int64], n: int, *key: KeyPart) -> list[npt.NDArray[np.int64]]:
    """The slots of a training window: runs of like length, in an order that the key shuffles.

    The key decides which rows of equal length meet, and which slot comes when.

    Args:
        lengths: int64 (rows,), training tokens of the window's rows in canonical order (its units in the order of
            `Window.units`, rows ascending), each >= 1.
        n: slots wanted, >= 1.
        key: (seed, epoch, partition, window).
    Returns:
        n arrays, int64 positions in ``lengths``, shortest row first: each row in exactly one. The padded cost (rows *
        longest) of each is at most the smallest cap that n runs of sorted rows allow. Some are empty if and only if
        there are fewer rows than n.
    Raises:
        ValueError: n < 1, or a length < 1.
    """
    rows = perm(len(lengths), *key, "rows")
    runs = like_length_runs(lengths[rows], n)
    return [rows[runs[i]] for i in perm(n, *key, "slots").tolist()]


def like_length_runs(lengths: npt.NDArray[np.int64], n: int) -> list[npt.NDArray[np.int64]]:
    """As `slot_runs`, unshuffled: stably sorted by length, shortest run first, empty runs last."""
    if n < 1 or (len(lengths) and lengths.min() < 1):
        raise ValueError(f"{n} runs of rows with lengths from {lengths.min(initial=1)}: both must be 1 or more")
    if not len(lengths):
        return [np.empty(0, np.int64)] * n
    # numpy sorts 16-bit integers by radix, about ten times faster
    narrow = lengths.astype(np.uint16) if lengths.max() < 2**16 else lengths
    order = np.argsort(narrow, kind="stable")
    histogram = np.bincount(lengths)
    distinct = np.flatnonzero(histogram).tolist()
    counts = histogram[distinct].tolist()
    sizes = _split(_fill(distinct, counts, smallest_cap(distinct, counts, n)), n)
    return np.split(order, np.cumsum(sizes)[:-1])


def smallest_cap(distinct: Sequence[int], counts: Sequence[int], n: int) -> int:
    """The smallest padded cost (rows * longest) to which `like_length_runs` can keep n runs.

    Args:
        distinct: the lengths that occur, ascending.
        counts: rows of each.
        n: runs.
    """
    # more room never makes more runs, so bisect
    tokens = sum(length * count for length, count in zip(distinct, counts, strict=True))
    caps = range(max(distinct[-1], -(-tokens // n)), distinct[-1] * sum(counts) + 1)
    return caps[bisect_left(caps, -n, key=lambda cap: -len(_fill(distinct, counts, cap)))]


def _fill(distinct: Sequence[int], counts: Sequence[int], cap: int) -> list[int]:
    """Sizes of the runs when sorted rows are taken one by one for as long as rows * longest <= cap.

    Goes over distinct lengths, of which a window has few, not over rows.
    """
    sizes, open_rows = [], 0
    for length, count in zip(distinct, counts, strict=True):
        most = cap // length
        if open_rows + count <= most:
            open_rows += count
            continue
        if open_rows:
            room = max(0, most - open_rows)
            sizes.append(open_rows + room)
            count -= room
        full, open_rows = divmod(count, most)
        sizes += [most] * full
    return [*sizes, open_rows] if open_rows else sizes


def _split(sizes: Sequence[int], n: int) -> list[int]:
    """Halves the run with most rows (the first of those) until there are n; then adds empty ones."""
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    heap = [(-size, start) for size, start in zip(sizes, starts, strict=True)]
    heapq.heapify(heap)
    while len(heap) < n and heap[0][0] < -1:
        size, start = -heap[0][0], heap[0][1]
        heapq.heapreplace(heap, (-(size // 2), start))
        heapq.heappush(heap, (size // 2 - size, start + size // 2))
    in_order = sorted((start, -size) for size, start in heap)
    return [size for _, size in in_order] + [0] * (n - len(heap))
