"""What training, evaluation, recommending and export ask of a model, however it finds its lists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from peft import PeftModel
from torch import Tensor, nn

from seqrec.errors import UnsupportedError
from seqrec.event_columns import ColumnName, EventColumns
from seqrec.models.adapters import orthogonality_penalty
from seqrec.models.backbones import Backbone
from seqrec.models.items import Items
from seqrec.models.list_request import ListRequest
from seqrec.models.losses import Loss, Negatives
from seqrec.models.micro_batch import MicroBatch
from seqrec.ranking import Ranked
from seqrec.users import UserValues


class ParameterCounts(NamedTuple):
    """Numbers of parameters, the item table apart."""

    trainable: int
    frozen: int
    item_table: int


class RankingModel(nn.Module, ABC):
    """A model that makes lists of items for histories: by scoring the whole catalogue, or by generating them.

    Letters in shapes: B sequences, L positions, N items.

    Attributes:
        items: the trainable table that items are looked up in, counted apart from the other parameters.
        backbone: the sequence model.
        loss: what it is trained by; says which negatives a step draws.
        columns: what it reads of events beside their items.
        user_values: what it knows of the values that attributes of users have; None where it reads none.
        list_limit: items of the longest list; None where the whole catalogue is ranked. An item beyond a list that is
            generated has no rank: it counts as missed.
    """

    items: Items
    backbone: Backbone
    loss: Loss
    columns: tuple[ColumnName, ...] = ()
    user_values: UserValues | None = None
    list_limit: int | None = None

    @property
    def n_items(self) -> int:
        """Items of the catalogue, N."""
        return self.items.n_items

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.items.weight.device

    @abstractmethod
    def training_loss(self, batch: MicroBatch, negatives: Negatives | None = None) -> Tensor:
        """Summed loss at the positions that have a target.

        Args:
            batch: what is learnt from.
            negatives: those of the step, for a sampled loss.
        Returns:
            float ().
        """

    @abstractmethod
    def rank(self, request: ListRequest) -> Ranked:
        """The lists of a batch of users.

        Raises:
            MetricError: a score is NaN.
        """

    def filler(self, device: torch.device) -> ListRequest:
        """A history of nobody, for a rank without users that must meet the others in a forward pass."""
        one = torch.ones(1, 1, dtype=torch.long, device=device)
        columns = EventColumns.blank(self.columns, (1, 1), device)
        return ListRequest(one, one[0], k=1, events=columns, users=0, in_parts=False)

    @abstractmethod
    def max_history(self, max_length: int) -> int:
        """Most events of a history that fit into ``max_length`` positions."""

    def check_list(self, k: int, *, where: str = "k") -> None:
        """Sees that the model makes lists of k items.

        Args:
            k: items of a list.
            where: what asks for it.
        Raises:
            UnsupportedError: they are too long for it.
        """
        if self.list_limit is not None and k > self.list_limit:
            raise UnsupportedError(
                f"lists of {k} items are asked for, and the model generates {self.list_limit} at most",
                where=where,
                do=f"ask for at most {self.list_limit}, or train with a larger limit in `model.head`",
            )

    def use_row_gradients(self) -> None:
        """Makes the table's gradient sparse.

        Raises:
            UnsupportedError: every row gets a gradient.
        """
        raise UnsupportedError(
            f"{type(self).__name__} gives every row of its table a gradient, so that there are no rows to leave out",
            where="optimizer.table_updates",
            do="set it to `all`",
        )

    def penalty(self) -> Tensor | None:
        """What the adapter adds to the mean loss, or None."""
        return orthogonality_penalty(self.backbone.model) if isinstance(self.backbone.model, PeftModel) else None

    def restorable_keys(self) -> frozenset[str]:
        """Names, as in `state_dict`, of what a checkpoint may leave out; see `Backbone.restorable_keys`."""
        return frozenset(f"backbone.{key}" for key in self.backbone.restorable_keys())

    def parameter_counts(self) -> ParameterCounts:
        """Trainable and frozen parameters outside the table, and the table's."""
        others = [p for p in self.parameters() if p is not self.items.weight]
        return ParameterCounts(
            trainable=sum(p.numel() for p in others if p.requires_grad),
            frozen=sum(p.numel() for p in others if not p.requires_grad),
            item_table=self.items.size,
        )
