"""What becomes of events, from item vectors: all events of a sequence in one pass."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from seqrec.event_columns import NO_COLUMNS, EventColumns
from seqrec.models.backbones import Backbone
from seqrec.models.events import EventEmbedding
from seqrec.models.fused_items import FusedItems
from seqrec.models.heads import Head
from seqrec.models.items import ItemTable
from seqrec.models.losses import FullSoftmax, Negatives
from seqrec.models.micro_batch import MicroBatch
from seqrec.models.model import SequenceModel
from seqrec.models.outcome_model import OutcomeModel, outcome_loss
from seqrec.outcomes import OutcomeSettings


class VectorOutcomeModel(OutcomeModel, SequenceModel):
    """Reads a sequence once and says what becomes of each of its events.

        logit = q_a(h) · e + b_a(h),  with h the hidden vector before the event and e its item's vector

    q and b are linear, with a bias: so there is a term of the item alone, one of the user alone, and one of both. It is
    an inner product of something of the user and something of the item, by which the whole catalogue is ranked: by the
    probability of the first outcome.

    Further letters in shapes: A outcomes, T positions with a label.

    Args:
        items, backbone, head, events: as of `SequenceModel`.
        settings: of the head.
    """

    def __init__(
        self,
        items: ItemTable | FusedItems,
        backbone: Backbone,
        head: Head,
        events: EventEmbedding,
        settings: OutcomeSettings,
    ):
        super().__init__(items, backbone, head, FullSoftmax(), events)  # the loss only says that no negatives are drawn
        self.outcomes = tuple(settings.outcomes)
        self.scoring = nn.Linear(items.width, len(self.outcomes) * (items.width + 1))

    def training_loss(self, batch: MicroBatch, negatives: Negatives | None = None) -> Tensor:
        """Summed binary cross-entropy of all outcomes that are known, as `RankingModel` says.

        Targets are the labels of the events at those positions, as in `seqrec.outcomes`; none of a first event, which
        has no history.
        """
        self.backbone.dropout_keys.rows = batch.dropout_keys
        hidden = self.forward(batch.inputs, batch.lengths, batch.events)
        places = batch.found_places()
        logits = self._logits(hidden, batch.inputs, places)
        return outcome_loss(logits, batch.targets.flatten().index_select(0, places))

    def logits(self, inputs: Tensor, lengths: Tensor, places: Tensor, events: EventColumns = NO_COLUMNS) -> Tensor:
        """As `OutcomeModel.logits`."""
        return self._logits(self.forward(inputs, lengths, events), inputs, places)

    def _logits(self, hidden: Tensor, inputs: Tensor, places: Tensor) -> Tensor:
        # where shapes are fixed, a place without a label may be the very first one
        before = hidden.flatten(0, 1).index_select(0, (places - 1).clamp(min=0))
        candidates = self.items(inputs.flatten().index_select(0, places).unsqueeze(1))  # (T, 1, D)
        weights = self.scoring(before).unflatten(1, (len(self.outcomes), -1))  # (T, A, D + 1)
        logits: Tensor = (weights[..., :-1] * candidates).sum(-1) + weights[..., -1]
        return logits.to(self.items.weight.dtype)

    def user_vectors(self, items: Tensor, lengths: Tensor, events: EventColumns = NO_COLUMNS) -> Tensor:
        """float (B, D + 1): products with `item_vectors` are the logits of the first outcome."""
        vectors: Tensor = self.scoring(super().user_vectors(items, lengths, events))
        return vectors[:, : self.items.width + 1]

    def compared_vectors(self) -> Tensor:
        """As `SequenceModel.compared_vectors`; without the 1."""
        return super().item_vectors()

    def item_vectors(self) -> Tensor:
        """float (N, D + 1): the items' vectors, and a 1 beside each."""
        return F.pad(super().item_vectors(), (0, 1), value=1.0)
