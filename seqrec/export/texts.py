"""What a bundle's model writes histories with: the tokens of its items, and of what stands around them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seqrec.models import HistoryText

TEXT_FILE = "text.safetensors"


def save_text(folder: Path, text: HistoryText) -> None:
    """Writes `text.safetensors`.

    Tensors: `prefix` int64 (P,), `items.tokens` int64 (N, M), `items.lengths` int64 (N,), `mask` int64 (1,) where the
    head masks, and `actions.tokens` and `actions.lengths` alike where something is said of them. Word vectors are the
    base model's.
    """
    tensors = {"prefix": text.prefix, "items.tokens": text.tokens, "items.lengths": text.lengths}
    if text.mask is not None:
        tensors["mask"] = torch.tensor([text.mask])
    if text.actions:
        tensors["actions.tokens"] = pad_sequence(list(text.actions), batch_first=True)
        tensors["actions.lengths"] = torch.tensor([len(tokens) for tokens in text.actions])
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / TEXT_FILE)


def load_text(folder: Path, words: Tensor) -> HistoryText:
    """What `save_text` wrote, with the base model's word vectors float (W, H)."""
    tensors: Mapping[str, Tensor] = load_file(folder / TEXT_FILE)
    actions: tuple[Tensor, ...] = ()
    if "actions.tokens" in tensors:
        rows = zip(tensors["actions.tokens"], tensors["actions.lengths"].tolist(), strict=True)
        actions = tuple(row[:length] for row, length in rows)
    mask = int(tensors["mask"]) if "mask" in tensors else None
    return HistoryText(
        words, tensors["prefix"], tensors["items.tokens"], tensors["items.lengths"], mask, actions=actions
    )
