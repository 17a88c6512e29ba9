"""Histories as text: a pretrained language model reads what items are called."""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from seqrec.errors import UnsupportedError
from seqrec.event_columns import NO_COLUMNS, ColumnName, EventColumns
from seqrec.models.backbones import Backbone
from seqrec.models.items import MASK
from seqrec.settings import Settings

QUESTION = -2  # beside MASK and PAD: stands in a history for the recipe's question


class TextHistorySettings(Settings):
    """Histories are written as text, item by item, and read by a pretrained backbone with its own word vectors."""

    template: str = Field(
        default="{title}; ", description="What is said of an event: columns of the catalogue in braces."
    )
    actions: str | None = Field(
        default=None,
        description="What is said of an event's action, behind the template, as ` rated {action}; `; null: nothing.",
    )
    instruction: str = Field(
        default="", description="What stands before a history, as an instruction with a few examples."
    )
    question: str = Field(
        default="",
        description="What stands between a history and the event that is asked about, as `[SEP]`; for the head "
        "`outcome`.",
    )
    item_tokens: int = Field(default=16, ge=1, description="Tokens of the template; what is longer is cut off.")

    @field_validator("actions")
    @classmethod
    def _check_actions(cls, actions: str | None) -> str | None:
        if actions is not None and {name for _, name, _, _ in string.Formatter().parse(actions)} - {None} != {"action"}:
            raise ValueError("name the action in braces, as ` rated {action}; `, and nothing else")
        return actions

    @property
    def columns(self) -> dict[ColumnName, str]:
        """What it says of events beside their items, each with the recipe field that asks for it."""
        return {} if self.actions is None else {"actions": "model.text.actions"}


@dataclass(frozen=True)
class HistoryText:
    """What histories are written with.

    Letters in shapes: N items, M tokens of the longest item, W words, H width of the backbone.

    Attributes:
        words: float (W, H), word vectors of the backbone.
        prefix: int64 (P,), what stands before a history; P may be 0.
        tokens: int64 (N, M), each item's tokens, then any.
        lengths: int64 (N,), how many each has, 1..M.
        mask: the word that stands for a masked event; None where the backbone has none.
        question: int64 (Q,), what stands before an event that is asked about; Q may be 0.
        actions: int64, the tokens of what is said of each action; none where nothing is said of them.
    """

    words: Tensor
    prefix: Tensor
    tokens: Tensor
    lengths: Tensor
    mask: int | None
    question: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    actions: tuple[Tensor, ...] = ()

    @property
    def event_tokens(self) -> int:
        """Tokens of the longest event."""
        return int(self.lengths.max()) + max(map(len, self.actions), default=0)


class Written(NamedTuple):
    """Histories as words.

    Attributes:
        words: int64 (B, T), any beyond ``lengths``.
        lengths: int64 (B,), 1..T.
        ends: int64 (B, L), where each event's last word stands; any for padding.
    """

    words: Tensor
    lengths: Tensor
    ends: Tensor


class HistoryWriter(nn.Module):
    """Writes histories as words for a backbone; nothing of it is trained, and checkpoints leave it out.

    An event is what stands at its last word, or at the word for a masked one; so heads, losses and ranking are those of
    histories of item vectors.

    Attributes:
        columns: what it says of events beside their items.
        text: what it was made of.
    """

    words: Tensor
    prefix: Tensor
    tokens: Tensor
    token_counts: Tensor
    action_tokens: Tensor
    action_counts: Tensor

    def __init__(self, text: HistoryText):
        super().__init__()
        self.columns: tuple[ColumnName, ...] = ("actions",) if text.actions else ()
        self.text = text
        # rows by item: PAD, which has no words, the items, and at the end those of the indices below 0
        tokens = F.pad(text.tokens, (0, max(0, len(text.question) - text.tokens.shape[1]), 1, 2))
        tokens[QUESTION, : len(text.question)] = text.question
        tokens[MASK, 0] = text.mask or 0
        counts = F.pad(text.lengths, (1, 2))
        counts[QUESTION], counts[MASK] = len(text.question), 1
        of_actions = [text.prefix[:0], *text.actions]  # nothing is said of an action that is not known
        buffers = {
            "words": text.words,
            "prefix": text.prefix,
            "tokens": tokens,
            "token_counts": counts,
            "action_tokens": pad_sequence(of_actions, batch_first=True),
            "action_counts": torch.tensor([len(tokens) for tokens in of_actions]),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    @classmethod
    def of(cls, text: HistoryText | None) -> Self:
        """The writer of a recipe that has histories as text.

        Args:
            text: what they are written with.
        Raises:
            UnsupportedError: there is nothing.
        """
        if text is None:
            raise UnsupportedError(
                "histories are written as text, and there is no catalogue to read it from",
                where="model.text",
                do="leave it null",
            )
        return cls(text)

    @torch.no_grad()
    def forward(self, inputs: Tensor, events: EventColumns = NO_COLUMNS) -> Written:
        """Histories in words.

        Args:
            inputs: int64 (B, L), items, MASK, QUESTION, or PAD at their ends.
            events: columns (B, L) beside ``inputs``, at least those of `columns`.
        """
        actions = torch.zeros_like(inputs) if events.actions is None else events.actions
        of_items, of_actions = self.token_counts[inputs], self.action_counts[actions]  # (B, L)
        stops = (of_items + of_actions).cumsum(1) + len(self.prefix)
        total = max(1, int(stops.max()))  # of a filler there may be nothing to write
        words = inputs.new_zeros(len(inputs), total + 1)
        words[:, : len(self.prefix)] = self.prefix
        _put(words, stops - of_actions - of_items, self.tokens[inputs], of_items)
        _put(words, stops - of_actions, self.action_tokens[actions], of_actions)
        return Written(words[:, :total], stops[:, -1].clamp(min=1), (stops - 1).clamp(min=0))

    def read(self, inputs: Tensor, backbone: Backbone, events: EventColumns = NO_COLUMNS) -> Tensor:
        """What a backbone finds where each event's words end, float (B, L, H); arguments as of `forward`."""
        written: Written = self(inputs, events)
        hidden: Tensor = backbone(F.embedding(written.words, self.words), written.lengths)
        return hidden.gather(1, written.ends.unsqueeze(2).expand(-1, -1, hidden.shape[2]))


def _put(words: Tensor, starts: Tensor, tokens: Tensor, counts: Tensor) -> None:
    """Writes the first ``counts`` (B, L) of each ``tokens`` (B, L, M) into words (B, T + 1) from ``starts`` on."""
    place = torch.arange(tokens.shape[2], device=words.device)  # (M,)
    to = starts.unsqueeze(2) + place
    to = to.where(place < counts.unsqueeze(2), words.shape[1] - 1)  # beyond the end, where nothing is read
    words.scatter_(1, to.flatten(1), tokens.flatten(1))


def check_words(text: HistoryText, positions: int, max_length: int) -> None:
    """Sees that histories fit into a backbone.

    Raises:
        UnsupportedError: they do not.
    """
    beside = len(text.prefix) + len(text.question)
    needed = beside + max_length * text.event_tokens
    if needed > positions:
        raise UnsupportedError(
            f"{max_length} events of up to {text.event_tokens} tokens, and {beside} beside them, "
            f"take {needed} positions, the backbone has {positions}",
            where="model.text",
            do="lower `data.max_length` or `model.text.item_tokens`, or shorten the instruction",
        )
