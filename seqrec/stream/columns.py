"""What a store has of its events beside the items, as flat columns that go where the items go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt
import torch

from seqrec.errors import UnsupportedError
from seqrec.event_columns import ColumnName, EventColumns
from seqrec.store.manifest import Manifest
from seqrec.store.sequences import Sequences
from seqrec.store.users import encode_users
from seqrec.stream.collate import Flat, Int64, pad, with_slack
from seqrec.users import UserValues

Columns = dict[str, Flat]
Users = npt.NDArray[np.int32]
_LOG_COLUMNS = {"timestamps": "time", "actions": "action", "values": "value"}


def check_columns(asked: Mapping[ColumnName, str], manifest: Manifest, *, where: str) -> None:
    """Sees that a store has what is asked of its events.

    Args:
        asked: for each column the recipe field that asks for it.
        manifest: of the store.
        where: the store.
    Raises:
        UnsupportedError: names the field.
    """
    has = {"timestamps": manifest.has_time, "actions": bool(manifest.actions), "values": manifest.has_values}
    for name, field in asked.items():
        if not has[name]:
            column = _LOG_COLUMNS[name]
            raise UnsupportedError(
                f"the store has no {name} of its events",
                where=field,
                store=where,
                do=f"prepare it from a log with a column of them (`logs.columns.{column}`), or do not ask for them",
            )


def flat_columns(sequences: Sequences, names: Iterable[str]) -> Columns:
    """The named columns of some users' events; actions from 1, since 0 is padding."""
    found = {}
    for name in names:
        column = getattr(sequences, name)
        assert column is not None  # the manifest says that there is one
        found[name] = column.astype(np.int16) + 1 if name == "actions" else column
    return found


def users_of(sequences: Sequences, values: UserValues | None) -> Users:
    """int32 (n, F), what is known of the users; F is 0 where nobody asks."""
    if values is None:
        return np.zeros((len(sequences), 0), dtype=np.int32)
    return encode_users(values, sequences.attributes, len(sequences))


def pad_columns(columns: Columns, starts: Int64, lengths: Int64, users: Users) -> EventColumns:
    """As `pad`, of each column, with the rows' users (n, F)."""
    padded = EventColumns(**{name: pad(column, starts, lengths) for name, column in columns.items()})
    return padded._replace(users=torch.from_numpy(users.astype(np.int64))) if users.shape[1] else padded


def join_columns(parts: Collection[Columns], slack: int = 0) -> Columns:
    """Each column of several parts as one, with ``slack`` zeros behind it."""
    names = next(iter(parts), {})
    return {name: with_slack([part[name] for part in parts], slack) for name in names}
