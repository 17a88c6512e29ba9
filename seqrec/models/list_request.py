"""What lists are made for, and how long."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from seqrec.event_columns import NO_COLUMNS, EventColumns
from seqrec.ranking import ItemLists


class ListRequest(NamedTuple):
    """A batch of users, and the lists that are asked for.

    Letters in shapes: B sequences, L positions, N items.

    Attributes:
        items: int64 (B, L), histories, PAD beyond ``lengths``; L at most the model's `max_history`.
        lengths: int64 (B,), 1..L.
        k: length of the lists, which the model's `check_list` allows.
        events: columns (B, L) beside ``items``, at least the model's `columns`.
        users: rows that are users, where the last ones only fill a shape; None for all.
        targets: int64 (users,), 1..N; None to recommend only.
        seen: items of each user to leave out, targets excepted; None to allow all.
        in_parts: whether the batch may take several forward passes, which ranks that meet in them must not.
    """

    items: Tensor
    lengths: Tensor
    k: int
    events: EventColumns = NO_COLUMNS
    users: int | None = None
    targets: Tensor | None = None
    seen: ItemLists | None = None
    in_parts: bool = True
