"""Histories as callers have them, in ids, names and times, to the tensors that a model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from seqrec.errors import RecipeError, TimestampError, UnknownIdError, UnsupportedError, nearest
from seqrec.event_columns import ColumnName, EventColumns
from seqrec.store import Catalogue
from seqrec.store.users import encode_users
from seqrec.users import UserValues

T = TypeVar("T")
_FIRST_YEARS_US = 10**14  # until 1973: no log is that old, but one in seconds or milliseconds looks so


@dataclass(frozen=True)
class History:
    """What somebody did, oldest first.

    Attributes:
        items: item ids.
        times: of each event, microseconds since 1970 UTC; needed where the model reads times.
        actions: of each event, the name of its action; needed where the model reads actions.
        user: what is known of them, as text by attribute; the model takes what is left out for unknown.
    """

    items: Sequence[str]
    times: Sequence[int] | None = None
    actions: Sequence[str] | None = None
    user: Mapping[str, str | None] | None = None


class Encoded(NamedTuple):
    """A history as tensors: items int64 (L,), 1..N, the columns (L,) that the model reads, and the user (F,)."""

    items: Tensor
    events: EventColumns


class Encoder:
    """Makes tensors of histories.

    Args:
        catalogue: of the items.
        actions: names of the action types, in the order of their codes.
        columns: what the model reads of events beside their items; anything else of a history is left alone.
        users: what it knows of the values that attributes of users have; None where it reads none.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        actions: Sequence[str],
        columns: Sequence[ColumnName],
        users: UserValues | None = None,
    ):
        self.catalogue = catalogue
        self.users = users
        self.actions = list(actions)
        self.columns = columns

    def __call__(self, histories: Sequence[Sequence[str] | History]) -> list[Encoded]:
        """The histories as tensors.

        Raises:
            UnknownIdError: an item, an action or an attribute that training did not know.
            UnsupportedError: a history lacks what the model reads.
            RecipeError: not as many times or actions as items.
            TimestampError: times are not microseconds.
            FeatureError: an attribute is to be a number and is not.
        """
        whole = [one if isinstance(one, History) else History(one) for one in histories]
        items = torch.from_numpy(self.catalogue.encode(item_id for history in whole for item_id in history.items))
        by_history = torch.split(items, [len(history.items) for history in whole])
        columns = [self._columns_of(history) for history in whole]
        if self.users is not None:
            users = self._users_of(self.users, [history.user or {} for history in whole])
            columns = [one._replace(users=user) for one, user in zip(columns, users, strict=True)]
        return [Encoded(*both) for both in zip(by_history, columns, strict=True)]

    def _users_of(self, values: UserValues, users: Sequence[Mapping[str, str | None]]) -> Tensor:
        """int64 (S, F), as the model reads them."""
        for name in dict.fromkeys(name for user in users for name in user):
            if name not in values.columns:
                near = nearest(name, values.columns)
                raise UnknownIdError(
                    f"the model reads no {name!r} of users" + (f" (did you mean {near!r}?)" if near else ""),
                    has=", ".join(values.columns),
                    do="give attributes that it was trained on, as `History(items, user={…})`",
                )
        columns = {name: pa.array([user.get(name) for user in users], pa.string()) for name in values.columns}
        return torch.from_numpy(encode_users(values, columns, len(users)).astype(np.int64))

    def _columns_of(self, history: History) -> EventColumns:
        n, found = len(history.items), {}
        if "timestamps" in self.columns:
            found["timestamps"] = _checked(_given(history.times, n, "times"))
        if "actions" in self.columns:
            found["actions"] = self._codes(_given(history.actions, n, "actions"))
        return EventColumns(**{name: torch.tensor(column, dtype=torch.int64) for name, column in found.items()})

    def _codes(self, names: Sequence[str]) -> list[int]:
        unknown = [name for name in names if name not in self.actions]
        if unknown:
            near = nearest(unknown[0], self.actions)
            raise UnknownIdError(
                f"no action {unknown[0]!r} in training" + (f" (did you mean {near!r}?)" if near else ""),
                has=", ".join(self.actions),
                do="name actions of the log that was trained on",
            )
        return [self.actions.index(name) + 1 for name in names]


def _given(column: Sequence[T] | None, n: int, name: str) -> Sequence[T]:
    """What a history has of each of its n events."""
    if column is None and n:
        raise UnsupportedError(
            f"the model reads the {name} of events, and a history comes without",
            do=f"give `History(items, {name}=…)`; on the command line `--{name}`",
        )
    column = column or []
    if len(column) != n:
        raise RecipeError(f"a history of {n} items has {len(column)} {name}", do="give one for each item")
    return column


def _checked(times: Sequence[int]) -> Sequence[int]:
    if times and max(times) < _FIRST_YEARS_US:
        raise TimestampError(
            f"a history whose last event is {max(times)} µs after 1970",
            do="give times in microseconds: seconds times 1,000,000",
        )
    return times
