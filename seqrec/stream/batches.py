"""What loaders yield: plain containers, not frozen, since Lightning moves and casts a dataclass field by field."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from seqrec.event_columns import NO_COLUMNS, EventColumns


class Position(NamedTuple):
    """Where training stands, for any number of ranks: ``step`` steps of epoch ``epoch`` are done."""

    epoch: int
    step: int


@dataclass
class TrainingBatch:
    """One micro-batch: what one rank takes of one slot of a step.

    Attributes:
        inputs: int64 (B, L), items, MASK, or PAD beyond ``lengths``.
        lengths: int64 (B,).
        targets: int64 (B, L), PAD where nothing is predicted; everywhere in the filler of a rank without rows.
        events: columns (B, L) beside ``inputs``, those that are asked for.
        rows: int64 (B,), store rows of the sequences; empty in a filler, and shorter than B where shapes are fixed and
            the last rows only fill up. A row can occur more than once where long histories are cut into several
            sequences.
        keys: int64 (B,), one a sequence, another in each epoch: what is random about it is a function of it. Empty in a
            filler, unless shapes are fixed.
        step_targets: targets in all micro-batches that this rank takes of the step.
        step_tokens: inputs likewise.
        position: the position of the step that it belongs to.
        micro_batch: its number in the step, 0..G - 1.
        after: the position once it is done; the step's own unless it is the last micro-batch.
        in_batch: int64 (n, 2), the rank's offer of targets as negatives of the step; see `seqrec.stream.in_batch`.
        places: int64 (T,), positions that the loss takes, as indices into the flattened ``targets``: all that have a
            target, and some without; None where shapes are not fixed.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor
    events: EventColumns
    rows: Tensor
    keys: Tensor
    step_targets: int
    step_tokens: int
    position: Position
    micro_batch: int
    after: Position
    in_batch: Tensor = field(default_factory=lambda: torch.empty(0, 2, dtype=torch.long))
    places: Tensor | None = None

    def pin_memory(self) -> Self:
        """The same in page-locked memory, which a GPU copies from while it computes."""
        pinned: dict[str, Any] = {
            field.name: value.pin_memory()
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **pinned, events=self.events.every(Tensor.pin_memory))


@dataclass
class EvaluationBatch:
    """Histories with one target each, or whole sequences without.

    Attributes:
        rows: int64 (B,), store rows of the users.
        items: int64 (B, L), the latest events of the histories, PAD beyond ``lengths``; more than B rows where shapes
            are fixed and the last ones only fill up.
        lengths: int64 (B,), as many as ``items``.
        targets: int64 (B,), or None.
        seen: offsets int64 (B + 1,) and items int64, whole histories, which may not be recommended; None if they may.
        events: columns (B, L) beside ``items``, those that are asked for.
        fixed_shape: whether ``items`` has one of few shapes, in which the model is to take it as it is.
    """

    rows: Tensor
    items: Tensor
    lengths: Tensor
    targets: Tensor | None
    seen_offsets: Tensor | None
    seen_items: Tensor | None
    events: EventColumns = NO_COLUMNS
    fixed_shape: bool = False
