"""What is known of events beside their items, as vectors added to the items' own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from seqrec.event_columns import ColumnName, EventColumns
from seqrec.models.users import UserEmbedding
from seqrec.settings import Settings
from seqrec.users import UserValues

_SECOND = 1_000_000  # microseconds


class EventSettings(Settings):
    """What of an event is added to the vector of its item; nothing by default."""

    action_types: bool = Field(default=False, description="Whether to add an embedding of the event's action.")
    time_gaps: int | None = Field(
        default=None,
        ge=2,
        le=40,
        description="Buckets of the time since the event before, whose embedding is added: the first below two "
        "seconds, each twice as long as the one before it, the last without an end. 32 reach 68 years; null adds none.",
    )

    @property
    def columns(self) -> dict[ColumnName, str]:
        """The columns that it reads, each with the recipe field that asks for it."""
        found: dict[ColumnName, str] = {}
        if self.time_gaps is not None:
            found["timestamps"] = "model.events.time_gaps"
        if self.action_types:
            found["actions"] = "model.events.action_types"
        return found


class EventEmbedding(nn.Module):
    """Adds what is known of events to the vectors of their items.

    Args:
        settings: what is added.
        width: D, of the vectors.
        n_actions: action types of the store.
        init_std: standard deviation of the initial embeddings.
        users: attributes of users, whose vector is added to all of their events; None for none.

    Attributes:
        columns: those that it reads.
    """

    def __init__(
        self,
        settings: EventSettings,
        width: int,
        n_actions: int,
        *,
        init_std: float,
        users: UserValues | None = None,
    ):
        super().__init__()
        self.columns = tuple(settings.columns)
        n_gaps = settings.time_gaps
        # row 0 of each: an action that is not known, as a masked event's, and a gap that is not there
        self.actions = _table(n_actions + 1, width, init_std) if settings.action_types else None
        self.gaps = _table(n_gaps + 1, width, init_std) if n_gaps is not None else None
        self._n_gaps = n_gaps or 0
        self.users = None if users is None else UserEmbedding(users, width, init_std=init_std)

    def forward(self, vectors: Tensor, events: EventColumns) -> Tensor:
        """The sum, float (B, L, D), of item vectors of that shape and embeddings of the columns (B, L) and the users.

        Where ``events`` has no users, nothing is known of any.
        """
        if self.actions is not None:
            vectors = vectors + self.actions(events.actions)
        if self.gaps is not None:
            assert events.timestamps is not None
            vectors = vectors + self.gaps(gap_buckets(events.timestamps, self._n_gaps))
        if self.users is not None:
            users = events.users
            if users is None:
                n_attributes = len(self.users.values.columns)
                users = torch.zeros(len(vectors), n_attributes, dtype=torch.long, device=vectors.device)
            vectors = vectors + self.users(users).unsqueeze(1)
        return vectors


def gap_buckets(timestamps: Tensor, n_buckets: int) -> Tensor:
    """Buckets the time since the previous event on a log2 scale, so that minutes and years both resolve.

    Args:
        timestamps: int64 (B, L), microseconds since 1970 UTC, oldest first.
        n_buckets: buckets of gaps; those of 2**(n_buckets - 1) seconds and more share the last.
    Returns:
        int64 (B, L) in 0..n_buckets: 0 at first events, 1 for gaps below two seconds; of no meaning at padding.
    Source: after the time buckets of HSTU, Zhai et al. 2024, arXiv:2402.17152.
    """
    return F.pad(log2_buckets(timestamps.diff(dim=1), n_buckets) + 1, (1, 0))


def log2_buckets(gaps: Tensor, n_buckets: int) -> Tensor:
    """Buckets 0..n_buckets - 1 of gaps in microseconds: bucket i ends at 2**(i + 1) seconds, the last not at all."""
    # integers, so that no device rounds a gap into another bucket
    ends = torch.arange(1, n_buckets, device=gaps.device)
    return torch.bucketize(gaps, _SECOND << ends, right=True)


def _table(rows: int, width: int, init_std: float) -> nn.Embedding:
    table = nn.Embedding(rows, width)
    nn.init.normal_(table.weight, std=init_std)
    return table
