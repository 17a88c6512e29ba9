"""The events of a part as validation or test batches, each with all that came before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from seqrec.event_columns import EventColumns
from seqrec.store.outcomes import Labeller
from seqrec.store.sequences import Sequences
from seqrec.store.split import Part, Temporal
from seqrec.store.store import SequenceStore
from seqrec.stream.collate import Int64, pad, with_slack
from seqrec.stream.columns import flat_columns, join_columns, pad_columns, users_of
from seqrec.stream.long_histories import SlidingSettings, parts
from seqrec.stream.settings import DataSettings
from seqrec.users import UserValues


@dataclass
class OutcomeBatch:
    """Sequences in which some events are to be judged.

    Attributes:
        rows: int64 (B,), store rows of the users; one occurs more than once where a history is long.
        items: int64 (B, L), PAD beyond ``lengths``.
        lengths: int64 (B,).
        labels: int64 (B, L), as in `seqrec.outcomes`, of the events to be judged; 0 for all others and at padding.
        events: columns (B, L) beside ``items``.
    """

    rows: Tensor
    items: Tensor
    lengths: Tensor
    labels: Tensor
    events: EventColumns


class OutcomeStream(IterableDataset[OutcomeBatch]):
    """Each labelled event of a part once, in the order of the store; a rank takes every so many of its units.

    A batch is made of one unit, so that no number of ranks changes it. Sequences longer than an input are cut into
    parts that overlap by half: an event sees at least half an input of what came before it, or all there is.

    Args:
        store: the store.
        split: says where the parts lie in time.
        labeller: labels events.
        settings: longest input and batch budget.
        part: validation, whose labels are what was known at the test cut, or test, with all that the log tells.
        columns: what batches carry of the events beside their items.
        users: how attributes of the users are written, where batches are to carry some.
    """

    def __init__(
        self,
        store: SequenceStore,
        split: Temporal,
        labeller: Labeller,
        settings: DataSettings,
        part: Part,
        *,
        columns: Sequence[str] = (),
        users: UserValues | None = None,
    ):
        assert store.manifest.time_percentiles is not None  # a temporal split has looked at them
        self._store = store
        self._labeller = labeller
        self._max_length = settings.max_length
        self._tokens = settings.evaluation_tokens
        last = store.manifest.time_percentiles[-1]
        cuts = {"validation": (split.validation_cut_us, split.test_cut_us), "test": (split.test_cut_us, last)}
        self._after_us, self._until_us = cuts[part]
        self._columns = columns
        self._users = users
        self.place(0, 1)

    def place(self, rank: int, world_size: int) -> None:
        """Says which rank this process is."""
        self._units = self._store.units[rank::world_size]

    def loader(self, rank: int, world_size: int) -> DataLoader[OutcomeBatch]:
        """A rank's batches; ranks may have different numbers of them."""
        self.place(rank, world_size)
        return DataLoader(self, batch_size=None)

    def __iter__(self) -> Iterator[OutcomeBatch]:
        of_users = () if self._users is None else self._users.columns
        columns = tuple(dict.fromkeys((*self._labeller.columns, *self._columns, *of_users)))
        for unit in self._units:
            yield from self._batches(self._store.read(unit, columns=columns))

    def _batches(self, sequences: Sequences) -> Iterator[OutcomeBatch]:
        assert sequences.timestamps is not None
        labels = self._labeller(sequences, self._until_us)
        labels[sequences.timestamps <= self._after_us] = 0
        labels[sequences.offsets[:-1][sequences.lengths > 0]] = 0  # a first event has no history
        stride = max(1, self._max_length // 2)
        sliding = SlidingSettings(kind="sliding", stride=stride)
        cut = parts(sliding, sequences.lengths, max_length=self._max_length, extra_events=0)
        starts = sequences.offsets[cut.history] + cut.start
        own = np.where(cut.start == 0, 0, cut.length - stride)  # what lies before is judged in an earlier part
        labelled = np.append(0, np.cumsum(labels != 0))
        some = np.flatnonzero(labelled[starts + cut.length] > labelled[starts + own])
        some = some[np.argsort(cut.length[some], kind="stable")]
        columns = join_columns([flat_columns(sequences, self._columns)], self._max_length)
        items, users = with_slack([sequences.items], self._max_length), users_of(sequences, self._users)
        for chosen in self._shares(some, cut.length):
            lengths = cut.length[chosen]
            judged = pad(labels, starts[chosen], lengths)
            judged.masked_fill_(torch.arange(judged.shape[1]) < torch.from_numpy(own[chosen]).unsqueeze(1), 0)
            yield OutcomeBatch(
                rows=torch.from_numpy(sequences.rows[cut.history[chosen]]),
                items=pad(items, starts[chosen], lengths),
                lengths=torch.from_numpy(lengths),
                labels=judged,
                events=pad_columns(columns, starts[chosen], lengths, users[cut.history[chosen]]),
            )

    def _shares(self, some: Int64, lengths: Int64) -> Iterator[Int64]:
        """Parts of a batch, shortest first, padding within the budget."""
        at = 0
        while at < len(some):
            longest = lengths[some[min(at + self._tokens // int(lengths[some[at]]), len(some) - 1)]]
            stop = at + max(1, self._tokens // int(longest))
            yield some[at:stop]
            at = stop
