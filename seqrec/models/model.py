"""The whole model: items → backbone → head → loss, as plain torch."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import partial

import torch
from peft import PeftModel
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from seqrec.errors import UnsupportedError
from seqrec.event_columns import NO_COLUMNS, ColumnName, EventColumns
from seqrec.models.adapters import AdapterSettings, attach
from seqrec.models.backbones import Backbone
from seqrec.models.events import EventEmbedding, EventSettings
from seqrec.models.heads import Head, HeadSettings, NextItemSettings, build_head
from seqrec.models.items import PAD, IdItemsSettings, ItemTable
from seqrec.models.losses import FullSoftmaxSettings, Loss, LossSettings, Negatives, SampledLoss, build_loss
from seqrec.models.ranking_model import RankingModel
from seqrec.models.sources import BackboneSettings, PretrainedBackboneSettings, load_backbone
from seqrec.ranking import DotScorer, ItemLists, Ranked, rank
from seqrec.settings import Settings

CPU_TOKENS = 4096  # of a forward pass on the CPU: its activations then stay within the cache


class ModelSettings(Settings):
    """The `model` section of a recipe."""

    items: IdItemsSettings = Field(default_factory=IdItemsSettings, description="How items become vectors.")
    events: EventSettings = Field(
        default_factory=EventSettings, description="What of an event is added to the vector of its item."
    )
    backbone: BackboneSettings = Field(description="The sequence model.")
    adapter: AdapterSettings | None = Field(
        default=None, description="PEFT adapter around the backbone; null trains the backbone itself, or nothing of it."
    )
    head: HeadSettings = Field(default_factory=NextItemSettings, description="What is predicted.")
    loss: LossSettings = Field(default_factory=FullSoftmaxSettings, description="Loss over the catalogue.")

    @property
    def columns(self) -> dict[ColumnName, str]:
        """What is asked of events beside their items, each with the recipe field that asks for it."""
        of_head: dict[ColumnName, str] = dict.fromkeys(build_head(self.head).columns, "model.head")
        return of_head | self.events.columns


class SequenceModel(RankingModel):
    """Scores every item as the next one of a sequence.

    Letters in shapes: B sequences, L positions, D width of the item vectors, N items.

    Args:
        items: the item table, also the output table.
        backbone: over vectors of its own width; a linear map each way joins other widths.
        head: what is asked of the backbone.
        loss: over the catalogue.
        events: adds what else is known of events.
    """

    items: ItemTable

    def __init__(self, items: ItemTable, backbone: Backbone, head: Head, loss: Loss, events: EventEmbedding):
        super().__init__()
        self.items = items
        self.events = events
        self.backbone = backbone
        self.head = head
        self.loss = loss
        same = items.width == backbone.width
        self.project_in = nn.Identity() if same else nn.Linear(items.width, backbone.width)
        self.project_out = nn.Identity() if same else nn.Linear(backbone.width, items.width)
        self.columns = events.columns

    def forward(self, inputs: Tensor, lengths: Tensor, events: EventColumns = NO_COLUMNS) -> Tensor:
        """Hidden vectors at every position, in the space of the item table.

        Args:
            inputs: int64 (B, L), items, MASK, or PAD beyond ``lengths``.
            lengths: int64 (B,), 1..L.
            events: columns (B, L) beside ``inputs``, at least those of `columns`.
        Returns:
            float (B, L, D); what stands at padding must not be read.
        Raises:
            ValueError: a column that the model reads is not there.
        """
        vectors = self.events(self.items(inputs), events.of(self.columns))
        hidden: Tensor = self.project_out(self.backbone(self.project_in(vectors), lengths))
        return hidden

    def training_loss(
        self,
        inputs: Tensor,
        lengths: Tensor,
        targets: Tensor,
        events: EventColumns = NO_COLUMNS,
        negatives: Negatives | None = None,
        dropout_keys: Tensor | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """As `RankingModel` says."""
        self.backbone.dropout_keys.rows = dropout_keys
        hidden = self.forward(inputs, lengths, events)  # a strategy's hooks are around this method, not `forward`
        if places is None:
            (places,) = torch.where(targets.flatten() != PAD)
        hidden, targets = hidden.flatten(0, 1).index_select(0, places), targets.flatten().index_select(0, places)
        loss: Tensor = self.loss(hidden, targets, self.items.weight, negatives)
        return loss

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
        self.items.row_gradients = self.loss.row_gradients = True

    def rank(
        self,
        items: Tensor,
        lengths: Tensor,
        events: EventColumns = NO_COLUMNS,
        *,
        k: int,
        users: int | None = None,
        targets: Tensor | None = None,
        seen: ItemLists | None = None,
        in_parts: bool = True,
    ) -> Ranked:
        """Ranks every item of the catalogue, as `RankingModel` and `seqrec.ranking.rank` say."""
        vectors = self._in_parts(items, lengths, events) if in_parts else self.user_vectors(items, lengths, events)
        return rank(DotScorer(vectors[:users], self.item_vectors()), k=k, targets=targets, seen=seen)

    def _in_parts(self, items: Tensor, lengths: Tensor, events: EventColumns) -> Tensor:
        """As `user_vectors`; rows come shortest first, so that parts of a batch also need less padding than it."""
        step = _rows_of_a_pass(items)
        vectors = []
        for first in range(0, len(items), step):
            own = lengths[first : first + step]
            part = partial(_part, rows=slice(first, first + step), length=int(own.max()))
            vectors.append(self.user_vectors(part(items), own, events.each(part)))
        return torch.cat(vectors)

    def user_vectors(self, items: Tensor, lengths: Tensor, events: EventColumns = NO_COLUMNS) -> Tensor:
        """Vectors whose product with the item table scores what comes next.

        Args:
            items: int64 (B, L), histories, PAD beyond ``lengths``; L at most `max_history`.
            lengths: int64 (B,), 1..L.
            events: columns (B, L) beside ``items``, at least those of `columns`.
        Returns:
            float (B, D).
        """
        inputs, lengths, events = self.head.query(items, lengths, events)
        hidden = self.forward(inputs, lengths, events)  # as in `training_loss`
        return hidden[torch.arange(len(lengths), device=lengths.device), lengths - 1]

    def item_vectors(self) -> Tensor:
        """float (N, D): row i - 1 scores item i."""
        return self.items.weight

    def max_history(self, max_length: int) -> int:
        """Most events of a history that fit beside what the head itself adds."""
        return max_length - int(self.head.with_mask)


def _part(column: Tensor, *, rows: slice, length: int) -> Tensor:
    return column[rows, :length]


def _rows_of_a_pass(items: Tensor) -> int:
    if items.device.type != "cpu" or items.numel() <= CPU_TOKENS:
        return max(1, len(items))
    return max(1, CPU_TOKENS // items.shape[1])


def build_model(
    settings: ModelSettings,
    *,
    n_items: int,
    max_length: int,
    total_steps: int,
    actions: Sequence[str] = (),
    table_rows: slice | None = None,
) -> RankingModel:
    """The model that a recipe describes, with fresh weights where they are not pretrained.

    Args:
        settings: the `model` section.
        n_items: catalogue size N.
        max_length: positions that the longest input takes.
        total_steps: optimizer steps of the whole training, for adapters with a schedule.
        actions: names of the store's action types, in the order of their codes.
        table_rows: rows of the item table to make, where others are to lie elsewhere; None for all.
    Raises:
        UnsupportedError: the head and the backbone see in different directions.
        BackboneError, AdapterError, RecipeError: a part cannot be built.
    """
    head = build_head(settings.head)
    base = load_backbone(settings.backbone, positions=max_length)
    adapter = settings.adapter
    backbone = Backbone(
        base,
        None if adapter is None else partial(attach, settings=adapter, total_steps=total_steps),
        pretrained=isinstance(settings.backbone, PretrainedBackboneSettings),
        compiled=settings.backbone.compile,
    )
    if head.causal != backbone.causal:
        raise UnsupportedError(
            f"head `{settings.head.kind}` needs a {'causal' if head.causal else 'bidirectional'} backbone, "
            f"`{settings.backbone.kind}` ({backbone.config.model_type}) is not",
            where="model.head",
            do=f"set `model.head.kind: {'next_item' if backbone.causal else 'masked_item'}`",
        )
    return assemble(settings, backbone, n_items=n_items, n_actions=len(actions), table_rows=table_rows)


def assemble(
    settings: ModelSettings, backbone: Backbone, *, n_items: int, n_actions: int, table_rows: slice | None = None
) -> RankingModel:
    """The model around a backbone that is there, with fresh weights in all else; arguments as in `build_model`."""
    head = build_head(settings.head)
    items = ItemTable(n_items, settings.items, with_mask=head.with_mask, rows=table_rows)
    events = EventEmbedding(settings.events, items.width, n_actions, init_std=settings.items.init_std)
    return SequenceModel(items, backbone, head, build_loss(settings.loss), events)


def merged(model: RankingModel) -> PreTrainedModel:
    """A copy of the backbone, in evaluation mode, with its adapter merged into the weights.

    The model itself stays as it is.

    Raises:
        ValueError: merged weights are not finite.
    """
    backbone = deepcopy(model.backbone.model)
    base: PreTrainedModel = backbone.merge_and_unload(safe_merge=True) if isinstance(backbone, PeftModel) else backbone
    return base.eval()
