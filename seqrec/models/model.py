"""A model that scores the whole catalogue: items → backbone → head → loss, as plain torch."""

from __future__ import annotations

from functools import partial
from operator import itemgetter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqrec.errors import UnsupportedError
from seqrec.event_columns import NO_COLUMNS, EventColumns
from seqrec.models.backbones import Backbone
from seqrec.models.events import EventEmbedding
from seqrec.models.fused_items import FusedItems
from seqrec.models.heads import Head
from seqrec.models.items import ItemTable
from seqrec.models.list_request import ListRequest
from seqrec.models.losses import Loss, Negatives, SampledLoss
from seqrec.models.micro_batch import MicroBatch
from seqrec.models.pooling import last
from seqrec.models.ranking_model import RankingModel
from seqrec.models.text_histories import HistoryWriter
from seqrec.ranking import DotScorer, Ranked, rank

CPU_TOKENS = 4096  # of a forward pass on the CPU: its activations then stay within the cache


class SequenceModel(RankingModel):
    """Scores every item as the next one of a sequence.

    Letters in shapes: B sequences, L positions, D width of the item vectors, N items.

    Args:
        items: makes the vectors of items, which are input and output table alike.
        backbone: over vectors of its own width; a linear map each way joins other widths.
        head: what is asked of the backbone.
        loss: over the catalogue.
        events: adds what else is known of events.
        temperature: that cosines are divided by to make scores; None for inner products.
        writer: writes histories as text; None where the backbone reads item vectors.
    """

    items: ItemTable | FusedItems

    def __init__(
        self,
        items: ItemTable | FusedItems,
        backbone: Backbone,
        head: Head,
        loss: Loss,
        events: EventEmbedding,
        *,
        temperature: float | None = None,
        writer: HistoryWriter | None = None,
    ):
        super().__init__()
        self.items = items
        self.events = events
        self.backbone = backbone
        self.head = head
        self.loss = loss
        self.temperature = temperature
        self.writer = writer
        same = items.width == backbone.width
        self.project_in = nn.Identity() if same or writer else nn.Linear(items.width, backbone.width)
        self.project_out = nn.Identity() if same else nn.Linear(backbone.width, items.width)
        self.user_values = None if events.users is None else events.users.values
        of_text = () if writer is None else writer.columns
        self.columns = tuple(dict.fromkeys((*events.columns, *backbone.columns, *of_text)))

    def forward(
        self, inputs: Tensor, lengths: Tensor, events: EventColumns = NO_COLUMNS, *, last_only: bool = False
    ) -> Tensor:
        """Hidden vectors at every position, whose products with `item_vectors` are scores.

        Args:
            inputs: int64 (B, L), items, MASK, or PAD beyond ``lengths``.
            lengths: int64 (B,), 1..L.
            events: columns (B, L) beside ``inputs``, at least those of `columns`.
            last_only: as in `Backbone.forward`.
        Returns:
            float (B, L, D); what stands at padding must not be read.
        Raises:
            ValueError: a column that the model reads is not there.
        """
        events = events.of(self.columns)
        if self.writer is None:
            vectors = self.project_in(self.events(self.items(inputs), events))
            found = self.backbone(vectors, lengths, events, last_only=last_only)
        else:
            found = self.writer.read(inputs, self.backbone, events)
        hidden: Tensor = self.project_out(found)
        if self.temperature is None:
            return hidden
        return F.normalize(hidden.to(self.items.weight.dtype), dim=-1) / self.temperature

    def training_loss(self, batch: MicroBatch, negatives: Negatives | None = None) -> Tensor:
        """As `RankingModel` says."""
        self.backbone.dropout_keys.rows = batch.dropout_keys
        # a strategy's hooks are around this method, not `forward`
        hidden = self.forward(batch.inputs, batch.lengths, batch.events)
        return self._loss_at(hidden, batch, negatives)

    def _loss_at(self, hidden: Tensor, batch: MicroBatch, negatives: Negatives | None) -> Tensor:
        """The summed loss of a batch whose inputs have the hidden vectors float (B, L, D)."""
        places = batch.found_places()
        hidden, targets = (every.index_select(0, places) for every in (hidden.flatten(0, 1), batch.targets.flatten()))
        return self.items.loss(self.loss, hidden, targets, negatives, self._scored)

    def use_row_gradients(self) -> None:
        """Makes the item table's gradient sparse, with the rows of inputs, targets and negatives only.

        Raises:
            UnsupportedError: the loss gives every row a gradient.
        """
        if not isinstance(self.loss, SampledLoss):
            raise UnsupportedError(
                f"{type(self.loss).__name__} gives every row of the item table a gradient, so that there are no rows "
                "to leave out",
                where="optimizer.table_updates",
                do="set it to `all`, or choose a sampled loss, as `model.loss.kind: sampled_softmax`",
            )
        if self.temperature is not None or self.items.attributes is not None:
            raise UnsupportedError(
                "vectors that are made of the item table give every row of it a gradient",
                where="optimizer.table_updates",
                do="set it to `all`, or take `model.scores.kind: dot` and no `model.items.attributes`",
            )
        self.items.use_row_gradients(self.loss)

    def rank(self, request: ListRequest) -> Ranked:
        """The lists of users, as `RankingModel` and `seqrec.ranking.rank` say."""
        histories = request.items, request.lengths, request.events
        vectors = self._in_parts(*histories) if request.in_parts else self.user_vectors(*histories)
        return self._lists(vectors[: request.users], request)

    def _lists(self, users: Tensor, request: ListRequest) -> Ranked:
        """The lists that are asked for, from the users' vectors (users, D)."""
        return rank(DotScorer(users, self.item_vectors()), k=request.k, targets=request.targets, seen=request.seen)

    def _in_parts(self, items: Tensor, lengths: Tensor, events: EventColumns) -> Tensor:
        """As `user_vectors`; rows come shortest first, so that parts of a batch also need less padding than it."""
        step = _rows_of_a_pass(items)
        vectors = []
        for first in range(0, len(items), step):
            own = lengths[first : first + step]
            rows, cut = slice(first, first + step), partial(_cut, length=int(own.max()))
            vectors.append(self.user_vectors(cut(items[rows]), own, events.every(itemgetter(rows)).each(cut)))
        return torch.cat(vectors)

    def user_vectors(self, items: Tensor, lengths: Tensor, events: EventColumns = NO_COLUMNS) -> Tensor:
        """Vectors whose products with `item_vectors` score what comes next.

        Args:
            items: int64 (B, L), histories, PAD beyond ``lengths``; L at most `max_history`.
            lengths: int64 (B,), 1..L.
            events: columns (B, L) beside ``items``, at least those of `columns`.
        Returns:
            float (B, D).
        """
        inputs, lengths, events = self.head.query(items, lengths, events)
        hidden = self.forward(inputs, lengths, events, last_only=True)  # as in `training_loss`
        return last(hidden, lengths)

    def item_vectors(self) -> Tensor:
        """float (N, D): row i - 1 scores item i."""
        return self._scored(self.items.vectors())

    def compared_vectors(self) -> Tensor:
        """float (N, D): row i - 1 is what item i is compared with others by."""
        return self.item_vectors()

    def _scored(self, vectors: Tensor) -> Tensor:
        return vectors if self.temperature is None else F.normalize(vectors, dim=-1)

    def max_history(self, max_length: int) -> int:
        """Most events of a history that fit beside what the head itself adds."""
        return max_length - int(self.head.with_mask)


def _cut(column: Tensor, *, length: int) -> Tensor:
    return column[:, :length]


def _rows_of_a_pass(items: Tensor) -> int:
    if items.device.type != "cpu" or items.numel() <= CPU_TOKENS:
        return max(1, len(items))
    return max(1, CPU_TOKENS // items.shape[1])
