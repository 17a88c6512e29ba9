"""Heads: what a sequence asks of the backbone, in training and when recommending."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import Discriminator, Field, Tag
from torch import Tensor

from seqrec.event_columns import NO_COLUMNS, ColumnName, EventColumns
from seqrec.models.items import MASK, PAD
from seqrec.models.slate_settings import SlateSettings
from seqrec.models.windows import windows, without_repeats
from seqrec.outcomes import OutcomeSettings, is_known
from seqrec.random import uniform
from seqrec.settings import CustomSettings, Settings, tag_of_kind


class NextItemSettings(Settings):
    """Predict each event from the events before it; for causal backbones."""

    kind: Literal["next_item"] = "next_item"


class MaskedItemSettings(Settings):
    """Predict masked events from both sides (Cloze); for bidirectional backbones."""

    kind: Literal["masked_item"]
    mask_share: float = Field(default=0.2, gt=0, lt=1, description="Share of its events that a Cloze sample masks.")
    last_share: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Share of samples that mask only the last event, which is what recommending will ask.",
    )


class SemanticIdSettings(Settings):
    """Generate the semantic id of each event from the events before it, code by code; for causal backbones."""

    kind: Literal["semantic_id"]
    beams: int = Field(default=50, ge=1, description="Beams of the search, and so items of the longest list.")
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of each code's target that is spread over all that may stand there."
    )


HeadSettings = Annotated[
    Annotated[NextItemSettings, Tag("next_item")]
    | Annotated[MaskedItemSettings, Tag("masked_item")]
    | Annotated[SemanticIdSettings, Tag("semantic_id")]
    | Annotated[SlateSettings, Tag("slate")]
    | Annotated[OutcomeSettings, Tag("outcome")]
    | Annotated[CustomSettings, Tag("custom")],
    Discriminator(tag_of_kind),
]


class Pairs(NamedTuple):
    """Inputs with what they should predict.

    Attributes:
        inputs: int64 (B, L), items, MASK, or PAD beyond ``lengths``.
        lengths: int64 (B,).
        targets: int64 (B, L), the item to predict at a position, PAD where there is none.
        events: columns (B, L) beside ``inputs``, of which none tells anything about what is to be predicted.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor
    events: EventColumns = NO_COLUMNS


class Query(NamedTuple):
    """Inputs whose last position predicts what comes after a history.

    Attributes:
        inputs: int64 (B, L), items, MASK, or PAD beyond ``lengths``.
        lengths: int64 (B,).
        events: columns (B, L) beside ``inputs``.
    """

    inputs: Tensor
    lengths: Tensor
    events: EventColumns = NO_COLUMNS


class NextItem:
    """Position i predicts event i + 1."""

    causal: bool | None = True
    with_mask = False
    extra_events = 1  # a training row has one event more than inputs
    columns: tuple[ColumnName, ...] = ()

    def pairs(
        self, items: Tensor, lengths: Tensor, keys: npt.NDArray[np.uint64], events: EventColumns = NO_COLUMNS
    ) -> Pairs:
        """Training pairs of right-padded sequences.

        Args:
            items: int64 (B, L + 1), PAD beyond ``lengths``.
            lengths: int64 (B,), at least 2 for a row to have a target.
            keys: uint64 (B,), not used: nothing here is random.
            events: columns (B, L + 1) beside ``items``.
        """
        lengths = lengths - 1
        (shorter,) = torch.where(lengths < items.shape[1] - 1)

        def without_last(column: Tensor) -> Tensor:
            kept = column[:, :-1].clone()
            kept[shorter, lengths[shorter]] = PAD  # the last event is a target only
            return kept

        return Pairs(without_last(items), lengths, items[:, 1:], events.each(without_last))

    def query(self, items: Tensor, lengths: Tensor, events: EventColumns = NO_COLUMNS) -> Query:
        """Inputs whose last position predicts what comes after a history: the history itself."""
        return Query(items, lengths, events)

    def n_targets(self, targets: Tensor) -> int:
        """One for each position that has a target."""
        return int(torch.count_nonzero(targets))


class Slate(NextItem):
    """Position i predicts the events from i + 1 on, as many as a slate holds; an item that comes again counts once.

    Batches are those of `NextItem`: a position's window of targets is read off the positions after it.
    """

    def __init__(self, settings: SlateSettings):
        self.size = settings.size

    def n_targets(self, targets: Tensor) -> int:
        """Those of all windows."""
        return int(torch.count_nonzero(without_repeats(windows(targets, self.size))))


class Outcome(NextItem):
    """What became of the event at a position, whose item is known, is predicted from the events before it."""

    extra_events = 0

    def __init__(self, settings: OutcomeSettings):
        self._n_outcomes = len(settings.outcomes)

    def pairs(
        self, items: Tensor, lengths: Tensor, keys: npt.NDArray[np.uint64], events: EventColumns = NO_COLUMNS
    ) -> Pairs:
        """The sequences themselves, with the labels of their events as targets; a first event has no history.

        Args:
            items: int64 (B, L), PAD beyond ``lengths``.
            lengths: int64 (B,).
            keys: not used: nothing here is random.
            events: columns (B, L) beside ``items``, with labels.
        """
        assert events.labels is not None  # the stream makes them for this head
        targets = events.labels.clone()
        targets[:, 0] = PAD
        return Pairs(items, lengths, targets, events._replace(labels=None))

    def n_targets(self, targets: Tensor) -> int:
        """One for each outcome of an event that is known."""
        return sum(int(is_known(targets, number).sum()) for number in range(self._n_outcomes))


class OneOutcome(Outcome):
    """As `Outcome`, of one event of each sequence, since each takes a pass of its own; another one in each epoch."""

    causal = None  # a model sees no event after it anyway

    def pairs(
        self, items: Tensor, lengths: Tensor, keys: npt.NDArray[np.uint64], events: EventColumns = NO_COLUMNS
    ) -> Pairs:
        """As `Outcome.pairs`, with the target of one labelled event, any with the same probability.

        Args:
            items, lengths, events: as there.
            keys: uint64 (B,), one a row, which draws the event.
        """
        pairs = super().pairs(items, lengths, keys, events)
        labelled = pairs.targets != PAD
        draws = torch.from_numpy(uniform(keys, np.arange(1)))
        before = (draws * labelled.sum(1, keepdim=True)).long()  # labelled events before the one that is asked about
        asked = labelled & (labelled.cumsum(1) == before + 1)
        return pairs._replace(targets=pairs.targets.masked_fill(~asked, PAD))


class MaskedItem:
    """Masked positions predict the items that were there; nothing else about their events is known either.

    Source: BERT4Rec, Sun et al. 2019, arXiv:1904.06690, whose data adds to Cloze samples some that mask only the last
    event; every masked event becomes the mask token.
    """

    causal: bool | None = False
    with_mask = True
    extra_events = 0
    columns: tuple[ColumnName, ...] = ()

    def __init__(self, settings: MaskedItemSettings):
        self.mask_share = settings.mask_share
        self.last_share = settings.last_share

    def pairs(
        self, items: Tensor, lengths: Tensor, keys: npt.NDArray[np.uint64], events: EventColumns = NO_COLUMNS
    ) -> Pairs:
        """Training pairs of right-padded sequences; at least one event of each is masked.

        Args:
            items: int64 (B, L), PAD beyond ``lengths``.
            lengths: int64 (B,).
            keys: uint64 (B,), one a row: the same key masks the same positions, whatever else is in the batch.
            events: columns (B, L) beside ``items``.
        """
        n_positions = items.shape[1]
        draws = torch.from_numpy(uniform(keys, np.arange(n_positions + 2)))
        row_draw, fallback_draw, draws = draws[:, 0], draws[:, 1], draws[:, 2:]
        position = torch.arange(n_positions)
        real = position < lengths.unsqueeze(1)
        cloze = (draws < self.mask_share) & real
        fallback = position == (fallback_draw * lengths).long().unsqueeze(1)
        cloze = torch.where(cloze.any(1, keepdim=True), cloze, fallback & real)
        last = position == (lengths - 1).unsqueeze(1)
        masked = torch.where((row_draw < self.last_share).unsqueeze(1), last, cloze)
        inputs = items.masked_fill(masked, MASK)
        return Pairs(inputs, lengths, torch.where(masked, items, PAD), without_masked(events, masked))

    def query(self, items: Tensor, lengths: Tensor, events: EventColumns = NO_COLUMNS) -> Query:
        """The history with a mask token behind its last event."""
        inputs = F.pad(items, (0, 1), value=PAD).scatter(1, lengths.unsqueeze(1), MASK)
        longer = events.each(lambda column: F.pad(column, (0, 1)))
        return Query(inputs, lengths + 1, without_masked(longer, inputs == MASK))

    def n_targets(self, targets: Tensor) -> int:
        """One for each position that has a target."""
        return int(torch.count_nonzero(targets))


def without_masked(events: EventColumns, masked: Tensor) -> EventColumns:
    """Columns that tell nothing of masked events.

    The time of a masked event is that of the last one before it that is not masked, or of the first one after it where
    there is none: that is what is known of the event that recommending asks for.
    """
    hidden = events.each(lambda column: column.masked_fill(masked, 0))
    if hidden.timestamps is None:
        return hidden
    position = torch.arange(masked.shape[1], device=masked.device)
    known = position.where(~masked, -1).cummax(1).values
    known = known.where(known >= 0, (~masked).int().argmax(1, keepdim=True))
    return hidden._replace(timestamps=hidden.timestamps.gather(1, known))


class Head(Protocol):
    """What a head must have; a recipe names one of the user's own by its import path.

    Attributes:
        causal: whether it needs a backbone whose positions see only what lies before them; None where any will do.
        with_mask: whether it puts mask tokens into its inputs; one position is then kept free for it.
        extra_events: events that a training row has beyond its inputs.
        columns: names of the columns of events that ``pairs`` needs, beside what the model reads.
    """

    causal: bool | None
    with_mask: bool
    extra_events: int
    columns: tuple[ColumnName, ...]

    def pairs(
        self, items: Tensor, lengths: Tensor, keys: npt.NDArray[np.uint64], events: EventColumns = NO_COLUMNS
    ) -> Pairs:
        """Training pairs of right-padded sequences, random only by ``keys``."""
        ...

    def query(self, items: Tensor, lengths: Tensor, events: EventColumns = NO_COLUMNS) -> Query:
        """Inputs whose last position predicts what comes after a history."""
        ...

    def n_targets(self, targets: Tensor) -> int:
        """How many targets the loss of a batch with such ``targets``, of `pairs`, is a sum over."""
        ...


def build_head(
    settings: NextItemSettings
    | MaskedItemSettings
    | SemanticIdSettings
    | SlateSettings
    | OutcomeSettings
    | CustomSettings,
) -> Head:
    """The head that a recipe names."""
    if isinstance(settings, CustomSettings):
        head: Head = settings.create()
        return head
    if isinstance(settings, SlateSettings):
        return Slate(settings)
    if isinstance(settings, OutcomeSettings):
        return Outcome(settings) if settings.pooling is None else OneOutcome(settings)
    return MaskedItem(settings) if isinstance(settings, MaskedItemSettings) else NextItem()
