"""Sequences of some users as flat columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_EVENT_COLUMNS = ("items", "timestamps", "actions", "values")


@dataclass(frozen=True)
class Sequences:
    """Behaviour sequences of n users, columnar: the events of user i are ``offsets[i]:offsets[i + 1]``, oldest first.

    Attributes:
        rows: int64 (n,), the users' row numbers in the store.
        offsets: int64 (n + 1,), starting at 0.
        items: int32 (events,), 1..N.
        timestamps: int64 (events,) µs since 1970 UTC, or None where the store has no times or they were not read.
        actions: int8 (events,), codes into ``manifest.actions``, or None likewise.
        values: float32 (events,), NaN where an event has none, or None likewise.
        attributes: by column text (n,) about the users, null where it is not known; those that were read.
    """

    rows: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.int64] | None = None
    actions: npt.NDArray[np.int8] | None = None
    values: npt.NDArray[np.float32] | None = None
    attributes: Mapping[str, pa.ChunkedArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """int64 (n,), events of each user."""
        return np.diff(self.offsets)

    def row_of_event(self) -> npt.NDArray[np.int64]:
        """int64 (events,), for each event the position 0..n-1 of its user."""
        return np.repeat(np.arange(len(self)), self.lengths)


def from_table(table: pa.Table, rows: npt.NDArray[np.int64]) -> Sequences:
    """The columns of some users; ``rows``, int64 (n,), are their row numbers in the store."""
    items = _flat(table, "items")
    assert items is not None
    offsets = items.offsets.to_numpy().astype(np.int64)

    def values(name: str) -> npt.NDArray[np.generic] | None:
        column = _flat(table, name)
        # flatten(), not .values: the latter ignores the slice that a list array may be
        return None if column is None or column.null_count == len(column) > 0 else column.flatten().to_numpy()

    return Sequences(
        rows=rows,
        offsets=offsets - offsets[0],  # a slice of an array begins where it was cut
        items=items.flatten().to_numpy(),
        timestamps=values("timestamps"),  # type: ignore[arg-type]
        actions=values("actions"),  # type: ignore[arg-type]
        values=values("values"),  # type: ignore[arg-type]
        attributes={name: table.column(name) for name in table.column_names if name not in _EVENT_COLUMNS},
    )


def _flat(table: pa.Table, name: str) -> pa.ListArray | None:
    if name not in table.column_names:
        return None
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
