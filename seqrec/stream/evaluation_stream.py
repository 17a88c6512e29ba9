"""The store as validation or test batches, or as whole sequences; the same batches at any number of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from seqrec.store.sequences import Sequences
from seqrec.store.split import Part, Split
from seqrec.store.store import SequenceStore
from seqrec.stream.batches import EvaluationBatch
from seqrec.stream.collate import flatten, pad
from seqrec.stream.columns import Columns, Users, flat_columns, join_columns, pad_columns, users_of
from seqrec.stream.fixed_shapes import FixedShapes
from seqrec.stream.order_evaluation import EvaluationPlan, evaluation_plan
from seqrec.stream.settings import DataSettings
from seqrec.users import UserValues

Int64 = npt.NDArray[np.int64]
_NO_BATCH = -1


@dataclass(frozen=True)
class EvaluationCounts:
    """Who is evaluated.

    Attributes:
        users: users with a target.
        left_out: users without, by reason.
        cold_targets: targets that never occur in training, among those evaluated.
    """

    users: int
    left_out: dict[str, int]
    cold_targets: int


@dataclass(frozen=True)
class Histories:
    """Users with a target, as slices of flat events.

    Attributes:
        rows: int64 (n,), store rows.
        items: int32 (events,).
        starts, lengths: int64 (n,), the whole histories in ``items``.
        targets: int64 (n,), or None where whole sequences are the histories.
        trained: int64 (n,), events of each user that are trained on; None likewise.
        users: int32 (n, F), what is known of the users.
        columns: what else is asked of the events, each (events,).
    """

    rows: Int64
    items: npt.NDArray[np.int32]
    starts: Int64
    lengths: Int64
    targets: Int64 | None
    trained: Int64 | None
    users: Users
    columns: Columns = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluatedUsers:
    """What is known of the users of a batch, beside what a model gets to see.

    Attributes:
        rows: int64 (B,), store rows.
        targets: int64 (B,).
        offsets, items: int64 (B + 1,) and (events,), whole histories: those of user b are
            ``items[offsets[b]:offsets[b + 1]]``, oldest first.
        trained: int64 (B,), events of each that are trained on.
    """

    rows: Int64
    targets: Int64
    offsets: Int64
    items: Int64
    trained: Int64


class EvaluationStream(Dataset[EvaluationBatch]):
    """Map-style over batch numbers.

    Args:
        store: the store.
        split: the protocol over it.
        settings: batch budget and window.
        part: validation or test; None for the whole sequence of every user and no target.
        max_history: latest events that a model gets to see.
        columns: what batches carry of the histories' events beside their items.
        users: how attributes of the users are written, where batches are to carry some.
    """

    def __init__(
        self,
        store: SequenceStore,
        split: Split,
        settings: DataSettings,
        part: Part | None,
        *,
        max_history: int,
        columns: Sequence[str] = (),
        users: UserValues | None = None,
    ):
        self._store = store
        self._split = split
        self._part = part
        self._split_columns = ("items",) if part is None else split.columns
        self._columns = columns
        self._users = users
        self._max_history = max_history
        left_out: dict[str, int] = {}
        cold, unit_rows, unit_tokens, lengths = 0, [], [], np.zeros(max_history + 1, np.int64)
        for unit in store.units:
            sequences = store.read(unit, columns=self._split_columns)
            if part is not None:
                for reason, some in split.targets(sequences, part).left_out.items():
                    left_out[reason] = left_out.get(reason, 0) + int(some.sum())
            histories = self._histories(sequences, {}, users_of(sequences, None))
            if histories.targets is not None:
                cold += int((split.train_counts[histories.targets] == 0).sum())
            unit_rows.append(len(histories.rows))
            seen_lengths = np.minimum(histories.lengths, max_history)
            unit_tokens.append(int(seen_lengths.sum()))
            lengths += np.bincount(seen_lengths, minlength=max_history + 1)
        self.counts = EvaluationCounts(sum(unit_rows), left_out, cold)
        self.plan: EvaluationPlan = evaluation_plan(
            np.array(unit_rows),
            np.array(unit_tokens),
            batch_tokens=settings.evaluation_tokens,
            window_tokens=settings.window_tokens,
        )
        self._shapes: FixedShapes | None = None
        if settings.length_buckets is not None:
            beside = settings.max_length - max_history  # what the head adds to a history
            buckets = [bucket - beside for bucket in settings.length_buckets if bucket > beside]
            self._shapes = FixedShapes(buckets, lengths, self.plan.n_batches)
        self._window: tuple[int, Histories, list[Int64]] | None = None

    def __len__(self) -> int:
        return self.plan.n_batches

    def loader(self, rank: int, world_size: int) -> DataLoader[EvaluationBatch]:
        """A rank's batches; as many on every rank, by one without users where there are fewer."""
        numbers = self.plan.batches_of(rank, world_size)
        missing = -(-self.plan.n_batches // world_size) - len(numbers)
        return self.loader_of([*numbers, *[_NO_BATCH] * missing])

    def loader_of(self, numbers: Sequence[int]) -> DataLoader[EvaluationBatch]:
        """The batches of these numbers, in this order; one without users where there are none."""
        return DataLoader(self, batch_size=None, sampler=numbers or [_NO_BATCH])

    def __getitem__(self, number: int) -> EvaluationBatch:
        if number == _NO_BATCH:
            none = torch.empty(0, dtype=torch.int64)
            return EvaluationBatch(none, none.view(0, 0), none, None if self._part is None else none, None, None)
        histories, batches, first = self._window_of(number)
        return self._collate(histories, batches[number - first])

    def _window_of(self, number: int) -> tuple[Histories, list[Int64], int]:
        """The window of batch ``number``: its histories, its batches, and the number of its first batch."""
        index = self.plan.window_at(number)
        if self._window is None or self._window[0] != index:
            histories = self.read(self.plan.windows[index].units)
            lengths = np.minimum(histories.lengths, self._max_history)
            self._window = (index, histories, self.plan.batches(index, lengths))
        return *self._window[1:], self.plan.windows[index].first_slot

    def users(self, number: int) -> EvaluatedUsers:
        """The users of batch ``number`` of a part, in its order; at no cost next to the batch itself."""
        histories, batches, first = self._window_of(number)
        assert histories.targets is not None  # of a part
        assert histories.trained is not None
        chosen = batches[number - first]
        offsets, items = flatten(histories.items, histories.starts[chosen], histories.lengths[chosen])
        return EvaluatedUsers(
            histories.rows[chosen], histories.targets[chosen], offsets, items, histories.trained[chosen]
        )

    def read(self, units: tuple[int, ...]) -> Histories:
        """Histories and targets of some units of the store."""
        of_users = () if self._users is None else self._users.columns
        columns = tuple(dict.fromkeys((*self._split_columns, *self._columns, *of_users)))
        parts, shift = [], 0
        for unit in units:
            sequences = self._store.read(self._store.units[unit], columns=columns)
            users = users_of(sequences, self._users)
            part = self._histories(sequences, flat_columns(sequences, self._columns), users)
            parts.append(replace(part, starts=part.starts + shift))
            shift += len(part.items)
        targets = [part.targets for part in parts if part.targets is not None]
        trained = [part.trained for part in parts if part.trained is not None]
        return Histories(
            rows=np.concatenate([part.rows for part in parts]),
            items=np.concatenate([part.items for part in parts]),
            starts=np.concatenate([part.starts for part in parts]),
            lengths=np.concatenate([part.lengths for part in parts]),
            targets=np.concatenate(targets) if targets else None,
            trained=np.concatenate(trained) if trained else None,
            users=np.concatenate([part.users for part in parts]),
            columns=join_columns([part.columns for part in parts]),
        )

    def _histories(self, sequences: Sequences, columns: Columns, users: Users) -> Histories:
        if self._part is None:
            keep = sequences.lengths > 0
            starts, lengths = sequences.offsets[:-1][keep], sequences.lengths[keep]
            return Histories(sequences.rows[keep], sequences.items, starts, lengths, None, None, users[keep], columns)
        targets = self._split.targets(sequences, self._part)
        keep = targets.position >= 0
        starts = sequences.offsets[:-1][keep]
        wanted = sequences.items[starts + targets.position[keep]].astype(np.int64)
        trained, ends = self._split.train_end(sequences)[keep], targets.history_end[keep]
        return Histories(sequences.rows[keep], sequences.items, starts, ends, wanted, trained, users[keep], columns)

    def _collate(self, histories: Histories, chosen: Int64) -> EvaluationBatch:
        starts, whole = histories.starts[chosen], histories.lengths[chosen]
        lengths = np.minimum(whole, self._max_history)
        latest = starts + whole - lengths
        seen_offsets = seen_items = None
        if self._split.settings.seen == "filter":
            seen_offsets, seen_items = map(torch.from_numpy, flatten(histories.items, starts, whole))
        batch = EvaluationBatch(
            rows=torch.from_numpy(histories.rows[chosen]),
            items=pad(histories.items, latest, lengths),
            lengths=torch.from_numpy(lengths),
            targets=None if histories.targets is None else torch.from_numpy(histories.targets[chosen]),
            seen_offsets=seen_offsets,
            seen_items=seen_items,
            events=pad_columns(histories.columns, latest, lengths, histories.users[chosen]),
        )
        return batch if self._shapes is None else self._shapes.evaluation(batch)
