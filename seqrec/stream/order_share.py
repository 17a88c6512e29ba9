"""Which rank takes which part of a step: the only place where the world size enters.

A step has P slots, one from each partition. Cut into lcm(P, W) equal stripes they divide evenly among W ranks, so the
same rows make the same step at every W; with W = P a rank has one whole slot.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Share(NamedTuple):
    """Stripes ``first:last`` of ``of`` of a partition's slot: one micro-batch."""

    partition: int
    first: int
    last: int
    of: int


def share(n_partitions: int, world_size: int, rank: int) -> list[Share]:
    """What a rank takes of every step.

    Args:
        n_partitions: P, partitions of the plan.
        world_size: W.
        rank: 0..W - 1.
    Returns:
        Shares by partition; those of all ranks cover each slot once.
    Raises:
        ValueError: P or W < 1, or the rank is out of range.
    """
    if n_partitions < 1 or not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of {world_size} over {n_partitions} partitions")
    stripes = math.lcm(n_partitions, world_size)
    of, each = stripes // n_partitions, stripes // world_size
    begin, end = rank * each, (rank + 1) * each
    return [Share(p, max(begin - p * of, 0), min(end - p * of, of), of) for p in range(begin // of, -(-end // of))]


def stripe(n_rows: int, part: Share) -> slice:
    """The rows of a slot that a share takes.

    Consecutive rows of the length-sorted slot. Taking every s-th instead made the slowest rank no faster and the
    others pad more: both give it ceil(n / s) rows of about the longest length.

    Args:
        n_rows: rows of the slot.
        part: the share.
    Returns:
        A slice, empty where the slot has too few rows for all; the slices of all shares cover the slot once.
    """
    return slice(n_rows * part.first // part.of, n_rows * part.last // part.of)


def micro_batches_per_step(n_partitions: int, world_size: int) -> int:
    """G, the most shares that any rank has; ranks with fewer add empty micro-batches, so that all count alike."""
    return max(len(share(n_partitions, world_size, rank)) for rank in range(world_size))
