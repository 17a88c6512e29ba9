"""Histories as text: a pretrained language model reads what items are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from seqrec.errors import UnsupportedError
from seqrec.models.backbones import Backbone
from seqrec.settings import Settings


class TextHistorySettings(Settings):
    """Histories are written as text, item by item, and read by a pretrained backbone with its own word vectors."""

    template: str = Field(
        default="{title}; ", description="What is said of an event: columns of the catalogue in braces."
    )
    instruction: str = Field(
        default="", description="What stands before a history, as an instruction with a few examples."
    )
    item_tokens: int = Field(default=16, ge=1, description="Tokens of an event; what is longer is cut off.")


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
    """

    words: Tensor
    prefix: Tensor
    tokens: Tensor
    lengths: Tensor
    mask: int | None


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

    An event is what stands at its item's last word, or at the word for a masked one; so heads, losses and ranking are
    those of histories of item vectors.
    """

    words: Tensor
    prefix: Tensor
    tokens: Tensor
    token_counts: Tensor

    def __init__(self, text: HistoryText):
        super().__init__()
        # rows by item: PAD, which has no words, the items, and last the mask, whose index is -1
        mask = text.tokens.new_full((1, text.tokens.shape[1]), text.mask or 0)
        self.register_buffer("words", text.words, persistent=False)
        self.register_buffer("prefix", text.prefix, persistent=False)
        self.register_buffer("tokens", torch.cat([torch.zeros_like(mask), text.tokens, mask]), persistent=False)
        counts = F.pad(text.lengths, (1, 1))
        counts[-1] = 1
        self.register_buffer("token_counts", counts, persistent=False)

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
    def forward(self, inputs: Tensor) -> Written:
        """Histories int64 (B, L), items, MASK, or PAD at their ends."""
        counts = self.token_counts[inputs]  # (B, L)
        stops = counts.cumsum(1) + len(self.prefix)
        place = torch.arange(self.tokens.shape[1], device=inputs.device)  # (M,)
        to = (stops - counts).unsqueeze(2) + place  # (B, L, M)
        total = max(1, int(stops.max()))  # of a filler there may be nothing to write
        to = to.where(place < counts.unsqueeze(2), total)  # beyond the end, where nothing is read
        words = inputs.new_zeros(len(inputs), total + 1)
        words[:, : len(self.prefix)] = self.prefix
        words.scatter_(1, to.flatten(1), self.tokens[inputs].flatten(1))
        return Written(words[:, :total], stops[:, -1].clamp(min=1), (stops - 1).clamp(min=0))

    def read(self, inputs: Tensor, backbone: Backbone) -> Tensor:
        """What a backbone finds where each event's words end, float (B, L, H), of inputs as `forward` takes them."""
        written: Written = self(inputs)
        hidden: Tensor = backbone(F.embedding(written.words, self.words), written.lengths)
        return hidden.gather(1, written.ends.unsqueeze(2).expand(-1, -1, hidden.shape[2]))


def check_words(text: HistoryText, positions: int, max_length: int) -> None:
    """Sees that histories fit into a backbone.

    Raises:
        UnsupportedError: they do not.
    """
    needed = len(text.prefix) + max_length * int(text.lengths.max())
    if needed > positions:
        raise UnsupportedError(
            f"{max_length} events of up to {int(text.lengths.max())} tokens, and {len(text.prefix)} before them, "
            f"take {needed} positions, the backbone has {positions}",
            where="model.text",
            do="lower `data.max_length` or `model.text.item_tokens`, or shorten the instruction",
        )
