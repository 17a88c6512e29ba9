"""What a model learns from at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seqrec.event_columns import NO_COLUMNS, EventColumns
from seqrec.models.items import PAD


class MicroBatch(NamedTuple):
    """A head's pairs, and what training adds to them.

    Attributes:
        inputs, lengths, targets, events: as of `Pairs`.
        dropout_keys: int64 (B,), a key a row, of which dropout is a function; None for torch's own generator.
        places: int64 (T,), indices into the flattened ``targets`` of all positions with a target and any without; None
            finds them, and then the shapes of what follows depend on the data.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor
    events: EventColumns = NO_COLUMNS
    dropout_keys: Tensor | None = None
    places: Tensor | None = None

    def found_places(self) -> Tensor:
        """The places; those with a target where none are given."""
        return torch.where(self.targets.flatten() != PAD)[0] if self.places is None else self.places
