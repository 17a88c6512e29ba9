"""Split protocols: which events are trained on and which are targets, decided while streaming, without a copy.

A protocol is a `SplitSettings`; `resolve` looks once over a store for what is global (which users validate, where the
cuts lie, how often each item is trained on), and the `Split` it returns answers for any unit of the store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from seqrec.errors import RecipeError, UnsupportedError
from seqrec.random import row_keys
from seqrec.settings import Settings
from seqrec.store.sequences import Sequences
from seqrec.store.store import SequenceStore

Part = Literal["validation", "test"]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
_FAR_FUTURE = np.iinfo(np.int64).max


class _SplitBase(Settings):
    seen: Literal["filter", "allow"] = Field(
        "filter",
        description="Whether items of a user's history may be recommended to them again: `allow` where people repeat.",
    )
    drop_cold_targets: bool = Field(
        False, description="Leave out users whose target item never occurs in training, as some published tables do."
    )


class LeaveOneOutSettings(_SplitBase):
    """The last event of each user is the test target, the one before the validation target."""

    kind: Literal["leave_one_out"] = "leave_one_out"
    validation_users: int | None = Field(
        None,
        ge=1,
        description="Users that give up an event for validation, drawn by `seed`; everyone else's is trained on. "
        "null: all users (the classic protocol); 2048: the protocol called loo-2048.",
    )
    seed: int = Field(0, description="Draws the validation users.")
    refit: bool = Field(
        False,
        description="Train on the validation targets too, for a number of steps that another run has chosen. Nothing "
        "is validated then, and the last checkpoint is the result. Not the classic protocol: reports say so.",
    )

    @model_validator(mode="after")
    def _check(self) -> LeaveOneOutSettings:
        if self.refit and self.validation_users is not None:
            raise ValueError("`refit` trains on all validation targets: leave `validation_users` null")
        return self


class TemporalSettings(_SplitBase):
    """Training before one point in time, one target a user after it: the first event after the cut.

    The history is what was known at the cut: all events before the first one after it. Test targets lie after
    `test_from`, validation targets between the cuts.
    """

    kind: Literal["temporal"]
    validation_from: float | datetime = Field(
        0.8, description="The earlier cut: a share of events (whole percents) or a date and time."
    )
    test_from: float | datetime = Field(0.9, description="The later cut, likewise.")
    target_actions: list[str] | None = Field(None, description="Actions that a target may have; null: any.")

    @model_validator(mode="after")
    def _check(self) -> TemporalSettings:
        for cut in (self.validation_from, self.test_from):
            if isinstance(cut, float) and not (0 < cut < 1 and abs(cut * 100 - round(cut * 100)) < 1e-9):
                raise ValueError(f"a cut of {cut} is no whole percent between 0.01 and 0.99")
        return self


SplitSettings = Annotated[LeaveOneOutSettings | TemporalSettings, Field(discriminator="kind")]


@dataclass(frozen=True)
class Targets:
    """One target a user, or none.

    Attributes:
        history_end: int64 (n,), events of the user that are the history.
        position: int64 (n,), the target's position in the user's sequence; -1 where the user is left out.
        left_out: for each reason, bool (n,).
    """

    history_end: Int64
    position: Int64
    left_out: dict[str, Bool]


class Split(ABC):
    """A protocol over one store; made by `resolve`.

    Attributes:
        settings: the protocol.
        columns: columns of the store that the protocol reads.
        train_counts: int64 (N + 1,), training events of each item; index 0 is 0.
    """

    columns: tuple[str, ...] = ("items",)

    def __init__(self, settings: LeaveOneOutSettings | TemporalSettings, store: SequenceStore):
        self.settings = settings
        self.store_fingerprint = store.manifest.fingerprint
        self.train_counts: Int64 = np.zeros(store.manifest.counts.items + 1, dtype=np.int64)

    @abstractmethod
    def train_end(self, sequences: Sequences) -> Int64:
        """int64 (n,): the first so many events of each user are trained on."""

    @abstractmethod
    def _find(self, sequences: Sequences, part: Part) -> tuple[Int64, Int64]:
        """History end and target position (-1: none), before users are left out for other reasons."""

    def targets(self, sequences: Sequences, part: Part) -> Targets:
        """The target of each user for validation or test."""
        history_end, position = self._find(sequences, part)
        no_target = position < 0
        no_history = ~no_target & (history_end < 1)
        left_out = {"no target": no_target, "no history": no_history}
        if self.settings.drop_cold_targets:
            items = sequences.items[np.where(no_target, 0, sequences.offsets[:-1] + position)]
            left_out["cold target"] = ~no_target & ~no_history & (self.train_counts[items] == 0)
        excluded = np.logical_or.reduce(list(left_out.values()))
        return Targets(history_end, np.where(excluded, -1, position), left_out)

    def describe(self) -> dict[str, Any]:
        """The protocol in plain values: recorded with the run and printed with every metric."""
        return self.settings.model_dump(mode="json")

    def count_training_items(self, store: SequenceStore) -> None:
        """Fills `train_counts` by one pass."""
        for sequences in store.scan(self.columns):
            position = np.arange(len(sequences.items)) - np.repeat(sequences.offsets[:-1], sequences.lengths)
            trained = position < np.repeat(self.train_end(sequences), sequences.lengths)
            self.train_counts += np.bincount(sequences.items[trained], minlength=len(self.train_counts))


class LeaveOneOut(Split):
    """Leave-one-out over one store."""

    def __init__(self, settings: LeaveOneOutSettings, store: SequenceStore):
        super().__init__(settings, store)
        self._validates = _draw_users(store, settings) if settings.validation_users else None
        self._refit = settings.refit

    def train_end(self, sequences: Sequences) -> Int64:
        """As `Split.train_end`."""
        if self._refit:
            return np.maximum(sequences.lengths - 1, 0)
        gives_one = 1 if self._validates is None else self._validates[sequences.rows].astype(np.int64)
        end: Int64 = np.maximum(sequences.lengths - 1 - gives_one, 0)
        return end

    def _find(self, sequences: Sequences, part: Part) -> tuple[Int64, Int64]:
        if part == "validation" and self._refit:
            raise UnsupportedError(
                "validation targets were trained on",
                where="data.split.refit",
                do="evaluate the test targets, or the run that chose the number of steps",
            )
        position = sequences.lengths - (1 if part == "test" else 2)
        if part == "validation" and self._validates is not None:
            position = np.where(self._validates[sequences.rows], position, -1)
        return position, np.maximum(position, -1)


class Temporal(Split):
    """Global time cuts over one store."""

    columns = ("items", "timestamps", "actions")

    def __init__(self, settings: TemporalSettings, store: SequenceStore):
        super().__init__(settings, store)
        if not store.manifest.has_time:
            raise UnsupportedError(
                "a temporal split needs times, and this store has only an order",
                where="data.split",
                do="use `kind: leave_one_out`, or prepare the store from a log with times",
            )
        self.validation_cut_us = _cut(settings.validation_from, store)
        self.test_cut_us = _cut(settings.test_from, store)
        if self.validation_cut_us >= self.test_cut_us:
            raise RecipeError(
                f"the validation cut, {_iso(self.validation_cut_us)}, is not before the test cut, "
                f"{_iso(self.test_cut_us)}",
                where="data.split",
                do="set `validation_from` to an earlier time or a smaller share than `test_from`",
            )
        actions = settings.target_actions
        self._codes = (
            None if actions is None else store.manifest.action_codes(actions, setting="data.split.target_actions")
        )

    def train_end(self, sequences: Sequences) -> Int64:
        """As `Split.train_end`."""
        return self._events_until(sequences, self.validation_cut_us)

    def _find(self, sequences: Sequences, part: Part) -> tuple[Int64, Int64]:
        if part == "validation":
            start, stop = self.validation_cut_us, self.test_cut_us
        else:
            start, stop = self.test_cut_us, _FAR_FUTURE
        assert sequences.timestamps is not None
        wanted = (sequences.timestamps > start) & (sequences.timestamps <= stop)
        if self._codes is not None:
            assert sequences.actions is not None
            wanted &= np.isin(sequences.actions, self._codes)
        first = np.full(len(sequences), -1, dtype=np.int64)
        events = np.flatnonzero(wanted)[::-1]  # reversed, so that the first event of a user is written last
        rows = sequences.row_of_event()[events]
        first[rows] = events - sequences.offsets[rows]
        return self._events_until(sequences, start), first

    def describe(self) -> dict[str, Any]:
        """The protocol with its cuts as dates."""
        cuts = {"validation_from": self.validation_cut_us, "test_from": self.test_cut_us}
        return super().describe() | {name: _iso(cut) for name, cut in cuts.items()}

    @staticmethod
    def _events_until(sequences: Sequences, cut_us: int) -> Int64:
        """int64 (n,): events of each user up to the first one after the cut.

        Where the log's `order` puts older events behind it, they are left out: no history may hold what was not known.
        """
        assert sequences.timestamps is not None
        late = np.concatenate([[0], np.cumsum(sequences.timestamps > cut_us)])
        late_so_far = late[1:] - np.repeat(late[sequences.offsets[:-1]], sequences.lengths)
        before = np.concatenate([[0], np.cumsum(late_so_far == 0)])
        return np.diff(before[sequences.offsets]).astype(np.int64)


def resolve(settings: LeaveOneOutSettings | TemporalSettings, store: SequenceStore) -> Split:
    """The protocol over a store.

    Raises:
        UnsupportedError: the store lacks what the protocol needs.
        RecipeError: cuts or actions that the store does not have.
    """
    split = Temporal(settings, store) if isinstance(settings, TemporalSettings) else LeaveOneOut(settings, store)
    split.count_training_items(store)
    return split


def _draw_users(store: SequenceStore, settings: LeaveOneOutSettings) -> Bool:
    """bool (users,): those with the smallest keys among the users who can spare an event."""
    assert settings.validation_users is not None
    lengths = np.concatenate([sequences.lengths for sequences in store.scan()])
    eligible = np.flatnonzero(lengths >= 3)
    keys = row_keys(settings.seed, 0, eligible, "validation users")
    chosen = np.zeros(len(lengths), dtype=np.bool_)
    chosen[eligible[np.argsort(keys, kind="stable")[: settings.validation_users]]] = True
    return chosen


def _cut(cut: float | datetime, store: SequenceStore) -> int:
    if isinstance(cut, datetime):
        aware = cut if cut.tzinfo else cut.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1_000_000)
    assert store.manifest.time_percentiles is not None
    return store.manifest.time_percentiles[round(cut * 100)]


def _iso(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1_000_000, tz=UTC).isoformat()
