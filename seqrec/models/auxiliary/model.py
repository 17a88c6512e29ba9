"""A sequence model that is trained on further objectives beside next items."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqrec.event_columns import EventColumns
from seqrec.models.auxiliary.contrast import Gather, alone, contrastive_loss
from seqrec.models.auxiliary.settings import (
    AugmentedViewsSettings,
    AuxiliarySettings,
    ContrastiveSettings,
    MaskedEventsSettings,
)
from seqrec.models.auxiliary.views import augmented, with_masked_events
from seqrec.models.backbones import Backbone
from seqrec.models.dropout import keys_for
from seqrec.models.events import EventEmbedding
from seqrec.models.fused_items import FusedItems
from seqrec.models.heads import NextItem
from seqrec.models.items import ItemTable
from seqrec.models.losses import Loss, Negatives
from seqrec.models.micro_batch import MicroBatch
from seqrec.models.model import SequenceModel
from seqrec.models.pooling import last


class AuxiliaryModel(SequenceModel):
    """Reads further copies of the sequences that it is trained on, which objectives beside next items ask for.

    All copies go through the backbone in one pass, as further rows of the batch. When ranking it is a `SequenceModel`
    like any other.

    Args:
        items, backbone, head, loss, events, temperature: as of `SequenceModel`.
        settings: the objectives.

    Attributes:
        gather: brings together the sequences of a step, where several ranks have them.

    Sources: contrastive views, DuoRec, Qiu et al. 2022, arXiv:2110.05730, and CL4SRec, Xie et al. 2022,
    arXiv:2010.14395, whose inner products are cosines here; masked events, BERT4Rec, Sun et al. 2019, arXiv:1904.06690.
    """

    gather: Gather

    def __init__(
        self,
        items: ItemTable | FusedItems,
        backbone: Backbone,
        head: NextItem,
        loss: Loss,
        events: EventEmbedding,
        settings: AuxiliarySettings,
        *,
        temperature: float | None = None,
    ):
        super().__init__(items, backbone, head, loss, events, temperature=temperature)
        self.auxiliary = settings
        self.gather = alone

    def training_loss(self, batch: MicroBatch, negatives: Negatives | None = None) -> Tensor:
        """As `RankingModel` says, with what the objectives add to it.

        Beside the loss of each target counts the contrastive loss of its sequence, and beside that of all targets each
        masked event's, both by their weights. Where sequences are told apart, each rank must have one batch a step.
        """
        batch = _keyed(batch)
        contrastive, masked = self.auxiliary.contrastive, self.auxiliary.masked_events
        views = [] if contrastive is None else _views(batch, contrastive)
        clozes = [] if masked is None else [_cloze(batch, masked)]
        copies = [batch, *views, *clozes]
        hidden = self._read(copies)
        loss = self._loss_at(hidden[0], batch, negatives)
        if contrastive is not None:
            two = slice(len(views) - 1, len(views) + 1)  # one further view is seen beside the batch itself
            vectors = [last(vectors, copy.lengths) for vectors, copy in zip(hidden[two], copies[two], strict=True)]
            loss = loss + contrastive.weight * self._contrast(torch.stack(vectors, dim=1), batch, contrastive)
        if masked is not None:
            loss = loss + masked.weight * self._loss_at(hidden[-1], copies[-1], negatives)
        return loss

    def _read(self, copies: Sequence[MicroBatch]) -> tuple[Tensor, ...]:
        """Hidden vectors float (B, L, D) of each copy's inputs."""
        self.backbone.dropout_keys.rows = torch.cat(
            [keys for copy in copies if (keys := copy.dropout_keys) is not None]
        )
        columns = zip(*(copy.events for copy in copies), strict=True)
        events = EventColumns(*(None if parts[0] is None else torch.cat(parts) for parts in columns))
        inputs, lengths = torch.cat([copy.inputs for copy in copies]), torch.cat([copy.lengths for copy in copies])
        hidden = self.forward(inputs, lengths, events)
        return torch.split(hidden, len(copies[0].inputs))

    def _contrast(self, views: Tensor, batch: MicroBatch, settings: ContrastiveSettings) -> Tensor:
        """The contrastive losses of the batch's sequences, each as often as the sequence has targets."""
        return contrastive_loss(
            views,
            batch.targets.gather(1, (batch.lengths - 1).unsqueeze(1)).squeeze(1),
            torch.count_nonzero(batch.targets, dim=1),
            temperature=settings.temperature,
            same_target=settings.positives == "same_target",
            gather=self.gather,
        )


def _keyed(batch: MicroBatch) -> MicroBatch:
    """With a key for each row, also in a filler, which has none."""
    if batch.dropout_keys is not None and len(batch.dropout_keys) == len(batch.inputs):
        return batch
    return batch._replace(dropout_keys=torch.randint(2**63 - 1, (len(batch.inputs),), device=batch.inputs.device))


def _views(batch: MicroBatch, settings: ContrastiveSettings) -> list[MicroBatch]:
    """What is seen of each sequence: one copy beside the batch itself, or two that differ from it."""
    if isinstance(settings.views, AugmentedViewsSettings):
        return [_redrawn(augmented(batch, _keys(batch, view), settings.views), view) for view in ("view 1", "view 2")]
    return [_redrawn(batch, "view")]


def _cloze(batch: MicroBatch, settings: MaskedEventsSettings) -> MicroBatch:
    return _redrawn(with_masked_events(batch, _keys(batch, "masked events"), settings.mask_share), "masked events")


def _redrawn(copy: MicroBatch, name: str) -> MicroBatch:
    """The same under dropout masks of its own."""
    return copy._replace(dropout_keys=_keys(copy, f"dropout of {name}"))


def _keys(batch: MicroBatch, purpose: str) -> Tensor:
    assert batch.dropout_keys is not None  # see `_keyed`
    return keys_for(batch.dropout_keys, purpose)
