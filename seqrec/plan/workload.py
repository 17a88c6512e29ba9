"""What a rank computes in a step: the shape of its largest micro-batch, and the step's size."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from seqrec.event_columns import EventColumns
from seqrec.models import build_head
from seqrec.outcomes import OutcomeSettings, known_bit
from seqrec.recipe import Recipe, build_data
from seqrec.stream import Position
from seqrec.stream.order_share import micro_batches_per_step, share

_STEPS_LOOKED_AT = 64  # of the first epoch; windows have as many steps or more, and like-length slots of like cost


class Workload(NamedTuple):
    """A step's work on the rank that has most.

    Attributes:
        n_items: catalogue size N.
        rows, length: B and L of the largest micro-batch.
        targets: T, positions of it that have a target.
        micro_batches: G, of each rank in a step.
        step_tokens: inputs of a step, all ranks together, on average.
        steps_per_epoch: None where there is no store to count.
    """

    n_items: int
    rows: int
    length: int
    targets: int
    micro_batches: int
    step_tokens: int
    steps_per_epoch: int | None


def workload_of_store(recipe: Recipe, world_size: int) -> Workload:
    """From the recipe's store: the largest of the first steps' micro-batches, at the longest length met.

    Args:
        recipe: what is planned.
        world_size: ranks W.
    Raises:
        StoreError, RecipeError: there is no store, or it cannot be trained on so.
    """
    data = build_data(recipe)
    stream = data.training
    stream.place(world_size - 1, world_size)  # slots are sorted by length, and the last rank has the longest rows
    n = min(_STEPS_LOOKED_AT, stream.n_steps) * stream.micro_batches
    met = [
        (batch.inputs.numel(), batch.inputs.shape[1], int(torch.count_nonzero(batch.targets)), batch.step_tokens)
        for batch in islice(stream.batches(Position(0, 0)), n)
    ]
    cells, length, targets, _ = np.array(met).max(0).tolist()
    return Workload(
        n_items=data.store.manifest.counts.items,
        rows=-(-cells // length),
        length=length,
        targets=targets,
        micro_batches=stream.micro_batches,
        step_tokens=recipe.data.step_tokens,
        steps_per_epoch=stream.n_steps,
    )


def workload_of_budget(recipe: Recipe, world_size: int, n_items: int) -> Workload:
    """From the recipe alone: rows of the longest length that fill a rank's share of the token budget.

    Args:
        recipe: what is planned.
        world_size: ranks W.
        n_items: catalogue size.
    """
    settings, head = recipe.data, build_head(recipe.model.head)
    largest = max((part.last - part.first) / part.of for part in share(settings.partitions, world_size, 0))
    rows = max(1, round(settings.step_tokens / settings.partitions * largest / settings.max_length))
    items = torch.ones(rows, settings.max_length + head.extra_events, dtype=torch.long)
    lengths = torch.full((rows,), items.shape[1])
    events = EventColumns.blank(recipe.model.columns, (rows, items.shape[1]))
    if isinstance(recipe.model.head, OutcomeSettings):  # all outcomes of all events known: the most there can be
        known = sum(known_bit(number) for number in range(len(recipe.model.head.outcomes)))
        events = events._replace(labels=torch.full_like(items, known))
    inputs, _, targets, _ = head.pairs(items, lengths, np.arange(rows, dtype=np.uint64), events)
    return Workload(
        n_items=n_items,
        rows=rows,
        length=inputs.shape[1],
        targets=int(torch.count_nonzero(targets)),
        micro_batches=micro_batches_per_step(settings.partitions, world_size),
        step_tokens=settings.step_tokens,
        steps_per_epoch=None,
    )
