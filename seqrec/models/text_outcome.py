"""A language model that reads a history and an event, written as one text, and says what becomes of the event."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqrec.event_columns import NO_COLUMNS, EventColumns
from seqrec.models.backbones import Backbone
from seqrec.models.items import PAD, Items
from seqrec.models.list_request import ListRequest
from seqrec.models.losses import FullSoftmax, Negatives
from seqrec.models.micro_batch import MicroBatch
from seqrec.models.outcome_model import OutcomeModel, outcome_loss
from seqrec.models.pooling import Pooling
from seqrec.models.text_histories import QUESTION, HistoryWriter, Written
from seqrec.outcomes import OutcomeSettings, PoolingKind
from seqrec.ranking import KnownScores, Ranked, rank

_WORDS = 8192  # of a forward pass in evaluation, padding counted
_INIT_STD = 0.02


class OutcomeVectors(Items):
    """What stands in the place of item vectors where items are read as text: a vector an outcome.

    Args:
        n_items: catalogue size N.
        n_outcomes: A.
        width: H.

    Attributes:
        weight: float (A, H), whose products with a text's vector are logits.
    """

    def __init__(self, n_items: int, n_outcomes: int, width: int):
        super().__init__()
        self.n_items = n_items
        self.weight = nn.Parameter(torch.randn(n_outcomes, width) * _INIT_STD)


class TextOutcomeModel(OutcomeModel):
    """Reads one text for each event that is asked about: the events before it, the question, and the event's item.

        logit = w_a · pooled(backbone(text)) + b_a

    Nothing else is learnt of an item, so that one without training events is judged by what is said of it. What the
    text does not say of the event itself is its action, which may be what is asked for.

    Further letters in shapes: H width of the backbone, W words of the longest text.

    Args:
        n_items: catalogue size N.
        backbone: the language model.
        writer: writes the texts.
        settings: of the head.
        pooling: how the vectors of a text become one.
    """

    def __init__(
        self,
        n_items: int,
        backbone: Backbone,
        writer: HistoryWriter,
        settings: OutcomeSettings,
        pooling: PoolingKind,
    ):
        super().__init__()
        self.outcomes = tuple(settings.outcomes)
        self.items = OutcomeVectors(n_items, len(self.outcomes), backbone.width)
        self.backbone = backbone
        self.loss = FullSoftmax()  # only says that no negatives are drawn
        self.writer = writer
        self.pool = Pooling(pooling, backbone.width)
        self.bias = nn.Parameter(torch.zeros(len(self.outcomes)))
        self.columns = writer.columns

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Logits float (T, A) of texts of words int64 (T, W), any beyond ``lengths`` (T,)."""
        pooled: Tensor = self.pool(self.backbone(F.embedding(words, self.writer.words), lengths), lengths)
        return F.linear(pooled.to(self.items.weight.dtype), self.items.weight, self.bias)

    def training_loss(self, batch: MicroBatch, negatives: Negatives | None = None) -> Tensor:
        """As `RankingModel` says, of targets that are labels; a pass is as many texts as there are places."""
        places, keys = batch.found_places(), batch.dropout_keys
        if not len(places):  # as of a rank without rows, which must meet the others
            places = places.new_zeros(1)
        if keys is not None and len(keys):  # a filler has none
            keys = keys[places // batch.inputs.shape[1]]
        self.backbone.dropout_keys.rows = keys
        words, counts, _ = self.texts(batch.inputs, places, batch.events)
        return outcome_loss(self.forward(words, counts), batch.targets.flatten().index_select(0, places))

    def logits(self, inputs: Tensor, lengths: Tensor, places: Tensor, events: EventColumns = NO_COLUMNS) -> Tensor:
        """As `OutcomeModel.logits`, in passes of texts of like length."""
        words, counts, _ = self.texts(inputs, places, events)
        order = counts.argsort(stable=True)
        found = [self.items.weight.new_empty(0, len(self.outcomes))]
        for some in _passes(order, counts):
            own = counts[some]
            found.append(self.forward(words[some, : int(own.max())], own))
        return torch.cat(found)[order.argsort()]

    def texts(self, inputs: Tensor, places: Tensor, events: EventColumns = NO_COLUMNS) -> Written:
        """The texts of T events, each after those before it in its row; arguments as of `logits`."""
        length = inputs.shape[1]
        rows, at = places // length, (places % length).unsqueeze(1)
        position = torch.arange(length + 1, device=inputs.device)
        before = F.pad(inputs[rows], (0, 1)).masked_fill(position >= at, PAD)
        asked = before.scatter(1, at, QUESTION).scatter(1, at + 1, inputs[rows].gather(1, at))
        said = events.of(self.columns).each(lambda column: F.pad(column[rows], (0, 1)).masked_fill(position >= at, 0))
        written: Written = self.writer(asked, said)
        return written

    @torch.no_grad()
    def rank(self, request: ListRequest) -> Ranked:
        """The lists of users by the logit of the first outcome: a text for each user and item of the catalogue."""
        rows = range(len(request.items[: request.users]))
        scores = [
            self._scores(request.items[row], request.lengths[row], request.events.each(itemgetter(row))) for row in rows
        ]
        return rank(KnownScores(torch.stack(scores)), k=request.k, targets=request.targets, seen=request.seen)

    def _scores(self, history: Tensor, length: Tensor, events: EventColumns) -> Tensor:
        """float (N,), logits of the first outcome of each item after a history (L,) with columns (L,)."""
        number = torch.arange(self.n_items, device=history.device)
        asked = F.pad(history, (0, 1)).repeat(self.n_items, 1)
        asked[:, length] = number + 1
        columns = events.each(lambda column: F.pad(column, (0, 1)).expand(self.n_items, -1))
        places = number * asked.shape[1] + length
        return self.logits(asked, (length + 1).expand(self.n_items), places, columns)[:, 0]

    def max_history(self, max_length: int) -> int:
        """All positions: the item that is judged is beside them."""
        return max_length


def _passes(order: Tensor, counts: Tensor) -> Iterator[Tensor]:
    """Texts of ``counts`` words, in an order that sorts them, some at a time, padding within the budget."""
    sizes, at = counts[order].tolist(), 0
    while at < len(order):
        stop = at + 1
        while stop < len(order) and (stop + 1 - at) * sizes[stop] <= _WORDS:
            stop += 1
        yield order[at:stop]
        at = stop
