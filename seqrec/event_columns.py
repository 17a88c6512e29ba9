"""What events carry beside their items, as tensors that lie beside the items', and what is known of their users."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal, NamedTuple

import torch
from torch import Tensor

ColumnName = Literal["timestamps", "actions", "values"]
_DTYPES = {"timestamps": torch.int64, "actions": torch.int64, "values": torch.float32}


class EventColumns(NamedTuple):
    """Columns of a batch's events, (B, L) as its items, or of one history's, (L,); None where nobody asked for one.

    Beside them ``users`` goes where they go: it is not of events, and the same whatever becomes of them.

    Attributes:
        timestamps: int64, microseconds since 1970 UTC, 0 at padding.
        actions: int64, 1 + the code into the store's ``manifest.actions``; 0 at padding and where it is not known.
        values: float32, 0 at padding, NaN where an event has none.
        labels: int64, what became of the events, as in `seqrec.outcomes`; made by the stream, for heads and not models.
        users: int64 (B, F), or (F,) of one history, attributes of the rows' users as `seqrec.users` writes them; None
            where nothing is known of anybody.
    """

    timestamps: Tensor | None = None
    actions: Tensor | None = None
    values: Tensor | None = None
    labels: Tensor | None = None
    users: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> EventColumns:
        """The columns of events that are there, changed alike, as their items are."""
        return self._replace(users=None).every(change)._replace(users=self.users)

    def every(self, change: Callable[[Tensor], Tensor]) -> EventColumns:
        """All that is there, changed alike, as by going to a device or by taking some rows."""
        return EventColumns(*(None if column is None else change(column) for column in self))

    def of(self, names: Collection[str]) -> EventColumns:
        """Some of the columns, and the users.

        Raises:
            ValueError: one is not there.
        """
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            raise ValueError(f"the model reads {', '.join(missing)} of every event, which are not given")
        return EventColumns(**{name: getattr(self, name) for name in names}, users=self.users)

    @staticmethod
    def blank(names: Collection[str], shape: tuple[int, ...], device: torch.device | None = None) -> EventColumns:
        """The named columns of events of which nothing is known: all 0."""
        return EventColumns(**{name: torch.zeros(shape, dtype=_DTYPES[name], device=device) for name in names})


NO_COLUMNS = EventColumns()
