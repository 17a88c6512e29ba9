"""What evaluation and training ask of a model that says what becomes of an event."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from seqrec.event_columns import NO_COLUMNS, EventColumns
from seqrec.models.ranking_model import RankingModel
from seqrec.outcomes import is_known, is_positive


class OutcomeModel(RankingModel):
    """Probabilities that an event, of which the item is known, ends in each of A outcomes, after the events before it.

    Letters in shapes: B sequences, L positions, A outcomes, T positions with a label.

    Attributes:
        outcomes: their names.
    """

    outcomes: tuple[str, ...]

    @abstractmethod
    def logits(self, inputs: Tensor, lengths: Tensor, places: Tensor, events: EventColumns = NO_COLUMNS) -> Tensor:
        """Logits of the outcomes of events.

        Args:
            inputs: int64 (B, L), items, PAD beyond ``lengths``.
            lengths: int64 (B,).
            places: int64 (T,), indices of the events into the flattened ``inputs``, none of a first event.
            events: columns (B, L) beside ``inputs``, at least those of `columns`.
        Returns:
            float (T, A).
        """


def outcome_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Summed binary cross-entropy of all outcomes that are known.

    Args:
        logits: float (T, A).
        labels: int64 (T,), as in `seqrec.outcomes`.
    Returns:
        float ().
    """
    number = torch.arange(logits.shape[1], device=labels.device)
    known, positive = (part(labels.unsqueeze(1), number).to(logits.dtype) for part in (is_known, is_positive))
    return F.binary_cross_entropy_with_logits(logits, positive, known, reduction="sum")
