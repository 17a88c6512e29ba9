"""Which events of a user are a training sequence: the split protocol's, cut to what an input takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from seqrec.random import row_keys
from seqrec.store.sequences import Sequences
from seqrec.store.split import Split
from seqrec.stream.collate import sparse_rows, with_slack
from seqrec.stream.columns import Columns, Users, flat_columns, join_columns, users_of
from seqrec.stream.long_histories import SlidingSettings, parts
from seqrec.stream.settings import DataSettings
from seqrec.users import UserValues

Int64 = npt.NDArray[np.int64]
Labels = Callable[[Sequences], npt.NDArray[np.int32]]
_SHORTEST = 2  # events of a history that can teach anything: one to see and one to predict
_AGE_BIT = 40  # above any row number


@dataclass(frozen=True)
class TrainableRows:
    """Training sequences as slices of flat events.

    Attributes:
        ids: int64 (n,), the store row, and from bit 40 on the age: 0 for the latest part of a history, 1 for the one
            before it. No two sequences of a store have the same.
        items: int32 (events,).
        starts, lengths: int64 (n,), in ``items``.
        users: int32 (n, F), what is known of their users.
        columns: what else is asked of the events, each (events,).
    """

    ids: Int64
    items: npt.NDArray[np.int32]
    starts: Int64
    lengths: Int64
    users: Users
    columns: Columns = field(default_factory=dict)

    def __getitem__(self, chosen: Int64 | slice) -> TrainableRows:
        """Some of the sequences, of the same events."""
        return TrainableRows(
            self.ids[chosen],
            self.items,
            self.starts[chosen],
            self.lengths[chosen],
            self.users[chosen],
            self.columns,
        )


def rows_of(ids: Int64) -> Int64:
    """int64 (n,), store rows of sequences; one occurs more than once where its history is cut into several."""
    return ids & ((1 << _AGE_BIT) - 1)


def keys_of(ids: Int64, seed: int, epoch: int) -> npt.NDArray[np.uint64]:
    """uint64 (n,), of each sequence: what is random about it depends on this and on nothing else."""
    return row_keys(seed, epoch, ids, "task")


class TrainableRule:
    """Finds the training sequences of any users.

    Args:
        split: the protocol, which says how many events of a user are trained on.
        settings: the longest input, and what becomes of longer histories.
        extra_events: events that a sequence has beyond its inputs.
        columns: what is asked of the events beside their items.
        labels: makes a further column, of what became of the events; see `seqrec.outcomes`.
        users: how attributes of the users are written, where some are asked for.
    """

    def __init__(
        self,
        split: Split,
        settings: DataSettings,
        extra_events: int,
        columns: Sequence[str] = (),
        labels: Labels | None = None,
        users: UserValues | None = None,
    ):
        self._split = split
        self._settings = settings
        self._extra_events = extra_events
        self._columns = columns
        self._labels = labels
        self._users = users

    def describe(self) -> str:
        """The rule for lengths in words; the protocol describes itself."""
        kind: str = self._settings.long_histories.kind
        if isinstance(self._settings.long_histories, SlidingSettings):
            kind += f" by {self._settings.long_histories.stride}"
        longest = self._settings.max_length + self._extra_events
        return f"{kind} {longest}, at least {_SHORTEST}, {self._extra_events} not input"

    def __call__(self, sequences: Sequences) -> TrainableRows:
        """The training sequences of some users, in the order of the users and from the latest part of each on."""
        columns = flat_columns(sequences, self._columns)
        if self._labels is not None:
            columns["labels"] = self._labels(sequences)
        return self._cut(sequences, columns, users_of(sequences, self._users))

    def _cut(self, sequences: Sequences, columns: Columns, of_users: Users) -> TrainableRows:
        ends = self._split.train_end(sequences)
        taught = np.flatnonzero(ends >= _SHORTEST)
        cut = parts(
            self._settings.long_histories,
            ends[taught],
            max_length=self._settings.max_length,
            extra_events=self._extra_events,
        )
        users = taught[cut.history]
        items, starts = sequences.items, sequences.offsets[users] + cut.start
        if 2 * cut.length.sum() < len(items):  # else a window would hold whole histories of which it uses the end
            offsets, kept = sparse_rows(starts, cut.length)
            items, starts = items[kept], offsets[:-1]
            columns = {name: column[kept] for name, column in columns.items()}
        ids = sequences.rows[users] + (cut.age << _AGE_BIT)
        return TrainableRows(ids, items, starts, cut.length, of_users[users], columns)

    def count(self, sequences: Sequences) -> Int64:
        """int64 (max_length + 1,): training sequences by the number of their inputs."""
        inputs = self._cut(sequences, {}, users_of(sequences, None)).lengths - self._extra_events
        return np.bincount(inputs, minlength=self._settings.max_length + 1)

    def join(self, units: Sequence[TrainableRows]) -> TrainableRows:
        """The sequences of several units as one."""
        shifts = np.cumsum([0, *(len(unit.items) for unit in units[:-1])])
        longest = self._settings.max_length + self._extra_events
        return TrainableRows(
            np.concatenate([unit.ids for unit in units]),
            with_slack([unit.items for unit in units], longest),
            np.concatenate([unit.starts + shift for unit, shift in zip(units, shifts, strict=True)]),
            np.concatenate([unit.lengths for unit in units]),
            np.concatenate([unit.users for unit in units]),
            join_columns([unit.columns for unit in units], longest),
        )
