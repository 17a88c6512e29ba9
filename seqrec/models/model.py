"""The whole model: items → backbone → head → loss, as plain torch."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import NamedTuple

import torch
from peft import PeftModel
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from seqrec.errors import UnsupportedError
from seqrec.event_columns import NO_COLUMNS, ColumnName, EventColumns
from seqrec.models.adapters import AdapterSettings, attach, orthogonality_penalty
from seqrec.models.backbones import Backbone
from seqrec.models.events import EventEmbedding, EventSettings
from seqrec.models.heads import Head, HeadSettings, NextItemSettings, Query, build_head
from seqrec.models.items import PAD, IdItemsSettings, ItemTable
from seqrec.models.losses import FullSoftmaxSettings, Loss, LossSettings, Negatives, SampledLoss, build_loss
from seqrec.models.sources import BackboneSettings, PretrainedBackboneSettings, load_backbone
from seqrec.settings import Settings


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


class ParameterCounts(NamedTuple):
    """Numbers of parameters, the item table apart."""

    trainable: int
    frozen: int
    item_table: int


class SequenceModel(nn.Module):
    """Scores every item as the next one of a sequence.

    Letters in shapes: B sequences, L positions, D width of the item vectors, N items.

    Args:
        items: the item table, also the output table.
        backbone: over vectors of its own width; a linear map each way joins other widths.
        head: what is asked of the backbone.
        loss: over the catalogue.
        events: adds what else is known of events.

    Attributes:
        columns: what it reads of events beside their items.
    """

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
        self.columns: tuple[ColumnName, ...] = events.columns

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
        """Summed loss at the positions that have a target; arguments as in `Pairs`.

        Args:
            negatives: those of the step, for a sampled loss.
            dropout_keys: int64 (B,), a key a row, of which dropout is a function; None for torch's own generator.
            places: int64 (T,), indices into the flattened ``targets`` of all positions with a target and any without;
                None finds them, and then the shapes of what follows depend on the data.
        Returns:
            float ().
        """
        self.backbone.dropout_keys.rows = dropout_keys
        hidden = self.forward(
            inputs, lengths, events
        )  # a strategy's hooks are around this method, not around `forward`
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

    def penalty(self) -> Tensor | None:
        """What the adapter adds to the mean loss, or None."""
        return orthogonality_penalty(self.backbone.model) if isinstance(self.backbone.model, PeftModel) else None

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

    def filler(self, device: torch.device) -> Query:
        """A history for `user_vectors` of a rank without one, which must meet the others in a forward pass."""
        one = torch.ones(1, 1, dtype=torch.long, device=device)
        return Query(one, one[0], EventColumns.blank(self.columns, (1, 1), device))

    def item_vectors(self) -> Tensor:
        """float (N, D): row i - 1 scores item i."""
        return self.items.weight

    def max_history(self, max_length: int) -> int:
        """Most events of a history that fit beside what the head itself adds."""
        return max_length - int(self.head.with_mask)

    def restorable_keys(self) -> frozenset[str]:
        """Names, as in `state_dict`, of what a checkpoint may leave out; see `Backbone.restorable_keys`."""
        return frozenset(f"backbone.{key}" for key in self.backbone.restorable_keys())

    def parameter_counts(self) -> ParameterCounts:
        """Trainable and frozen parameters outside the item table, and the table's."""
        table = self.items.weight
        others = [p for p in self.parameters() if p is not table]
        return ParameterCounts(
            trainable=sum(p.numel() for p in others if p.requires_grad),
            frozen=sum(p.numel() for p in others if not p.requires_grad),
            item_table=self.items.n_items * self.items.width,
        )


def build_model(
    settings: ModelSettings,
    *,
    n_items: int,
    max_length: int,
    total_steps: int,
    actions: Sequence[str] = (),
    table_rows: slice | None = None,
) -> SequenceModel:
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
    items = ItemTable(n_items, settings.items, with_mask=head.with_mask, rows=table_rows)
    return assemble(settings, items, backbone, head, n_actions=len(actions))


def assemble(
    settings: ModelSettings, items: ItemTable, backbone: Backbone, head: Head, *, n_actions: int
) -> SequenceModel:
    """The model around parts that are there."""
    events = EventEmbedding(settings.events, items.width, n_actions, init_std=settings.items.init_std)
    return SequenceModel(items, backbone, head, build_loss(settings.loss), events)


def merged(model: SequenceModel) -> PreTrainedModel:
    """A copy of the backbone, in evaluation mode, with its adapter merged into the weights.

    The model itself stays as it is.

    Raises:
        ValueError: merged weights are not finite.
    """
    backbone = deepcopy(model.backbone.model)
    base: PreTrainedModel = backbone.merge_and_unload(safe_merge=True) if isinstance(backbone, PeftModel) else backbone
    return base.eval()
