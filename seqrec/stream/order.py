"""The order of training as a pure function of (store, seed, epoch).

A *step* is one global batch. It has P *slots*, one from each of P *partitions* of the store's units; a slot is a batch
of sequences of like length. Partitions are read a *window* at a time. The world size is no part of this: ranks divide
the slots of a step (`seqrec.stream.order_share`), so a run may go on at any step with any number of ranks.

The number of steps is fixed before anything is shuffled, from counts alone, and the same in every epoch; the windows
then share the steps. So the token budget is an average that slots keep to within a few percent.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqrec.errors import StoreError
from seqrec.random import perm
from seqrec.stream.order_runs import slot_runs
from seqrec.stream.order_windows import MIN_SLOTS, Window, apportion, cut, locate, number

ORDER_VERSION = 3  # raise with any change that gives another order from the same arguments


@dataclass(frozen=True)
class EpochPlan:
    """One epoch's order, down to the windows; `slots` orders the rows of a window once it has been read.

    Attributes:
        seed, epoch: what the order was drawn from.
        n_steps: steps of the epoch, the same for every seed and epoch.
        partitions: the windows of each partition; their slots are numbered 0..n_steps - 1 in each.
    """

    seed: int
    epoch: int
    n_steps: int
    partitions: tuple[tuple[Window, ...], ...]

    def window_at(self, partition: int, step: int) -> int:
        """Index of the window of ``partition`` that holds the slot of ``step``; IndexError past the epoch's end."""
        return locate(self.partitions[partition], step)

    def slots(self, partition: int, window: int, lengths: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        """The slots of one window.

        Args:
            partition, window: indices into ``partitions``.
            lengths: int64 (rows,), training tokens of the window's trainable rows: its units in the order of
                `Window.units`, rows ascending.
        Returns:
            For each of the window's slots, int64 positions in ``lengths``; slot i belongs to step ``first_slot + i``.
        """
        n_slots = self.partitions[partition][window].n_slots
        return slot_runs(lengths, n_slots, self.seed, self.epoch, partition, window)


def plan(
    rows: npt.NDArray[np.int64],
    tokens: npt.NDArray[np.int64],
    *,
    partitions: int,
    step_tokens: int,
    window_tokens: int,
    seed: int,
    epoch: int,
) -> EpochPlan:
    """Plans one epoch from counts; reads nothing.

    Args:
        rows: int64 (units,), trainable rows of each unit; 0 is fine.
        tokens: int64 (units,), training tokens of those rows, at least one a row.
        partitions: P, lowered to the number of units that have rows.
        step_tokens: tokens of a step, all P slots together: what one gradient is made of, whatever P.
        window_tokens: tokens a window holds, about: what a reader keeps in memory for each partition. Raised to 64
            slots' worth, below which slots of like length and like cost cannot be made.
        seed, epoch: >= 0.
    Returns:
        The plan. Every step has at least one row.
    Raises:
        StoreError: no unit has a trainable row.
        ValueError: a setting < 1, or a unit with fewer tokens than rows.
    """
    n_steps = steps_per_epoch(rows, tokens, partitions=partitions, step_tokens=step_tokens)
    units = np.flatnonzero(rows)
    units = units[perm(len(units), seed, epoch, "units")]
    n_partitions = min(partitions, len(units))
    most_tokens = max(window_tokens, MIN_SLOTS * -(-step_tokens // n_partitions))
    return EpochPlan(
        seed=seed,
        epoch=epoch,
        n_steps=n_steps,
        partitions=tuple(
            _windows(units[members], rows, tokens, most_tokens, n_steps)
            for members in _balance(tokens[units], n_partitions)
        ),
    )


def steps_per_epoch(
    rows: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64], *, partitions: int, step_tokens: int
) -> int:
    """T, the steps of an epoch, for any seed: tokens over the budget.

    At most rows / P, so that the partition with most rows has one for every step: a step without a target has no
    gradient. This binds where rows are longer than a slot's budget.

    Args and errors as for `plan`.
    """
    if min(partitions, step_tokens) < 1 or (tokens < rows).any():
        raise ValueError(
            f"partitions={partitions}, step_tokens={step_tokens}: both from 1; a unit's tokens from its rows"
        )
    n_units = int(np.count_nonzero(rows))
    if not n_units:
        raise StoreError(
            f"none of {len(rows):,} units has a sequence to train on",
            do="check the split protocol and the shortest length it asks for, or prepare a store with longer sequences",
        )
    return min(_ceil_div(int(tokens.sum()), step_tokens), _ceil_div(int(rows.sum()), min(partitions, n_units)))


def fingerprint(
    store: str,
    split: str,
    *,
    length_rule: str,
    seed: int,
    partitions: int,
    step_tokens: int,
    window_tokens: int,
) -> str:
    """Names an order: two runs with the same fingerprint meet the same rows at the same (epoch, step).

    Args:
        store: the manifest's fingerprint.
        split: description of the split protocol with all its settings.
        length_rule: description of how a row's training tokens are counted (shortest, longest, cropping).
        seed, partitions, step_tokens, window_tokens: as given to `plan`.
    Returns:
        32 hexadecimal digits.
    """
    facts = {
        "order": ORDER_VERSION,
        "store": store,
        "split": split,
        "length_rule": length_rule,
        "seed": seed,
        "partitions": partitions,
        "step_tokens": step_tokens,
        "window_tokens": window_tokens,
    }
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _balance(tokens: npt.NDArray[np.int64], n: int) -> list[list[int]]:
    """Gives each unit in turn to the partition with fewest tokens, the first of those: all within one unit's tokens."""
    members: list[list[int]] = [[] for _ in range(n)]
    heap = [(0, partition) for partition in range(n)]
    for unit, unit_tokens in enumerate(tokens.tolist()):
        held, partition = heap[0]
        members[partition].append(unit)
        heapq.heapreplace(heap, (held + unit_tokens, partition))
    return members


def _windows(
    units: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    tokens: npt.NDArray[np.int64],
    most_tokens: int,
    n_steps: int,
) -> tuple[Window, ...]:
    """Cuts one partition into windows that share the epoch's steps."""
    bounds = cut(tokens[units], most_tokens, n_steps)
    slots = apportion(n_steps, np.add.reduceat(tokens[units], bounds[:-1]), np.add.reduceat(rows[units], bounds[:-1]))
    return number(units, bounds, slots)


def _ceil_div(value: int, by: int) -> int:
    return -(-value // by)
