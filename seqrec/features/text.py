"""Items as text, and text as vectors of a pretrained encoder."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, AutoTokenizer

from seqrec.errors import BackboneError, RecipeError
from seqrec.features.columns import column_of
from seqrec.models import locate_source
from seqrec.store import Catalogue

_BATCH_TOKENS = 4096


def item_texts(catalogue: Catalogue, template: str, *, setting: str = "template") -> list[str]:
    """What a template says of each item.

    Args:
        catalogue: of N items.
        template: text with columns of the catalogue in braces, as `{title} ({category})`; a cell without a value
            leaves nothing.
        setting: what holds the template, for errors.
    Returns:
        N texts.
    Raises:
        RecipeError: it names no column, or one that the catalogue has not.
    """
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise RecipeError(f"`{template}`: {error}", where=setting, do="write a literal brace twice") from error
    if not names:
        raise RecipeError(
            f"`{template}` is the same for all items", where=setting, do="name columns in braces, as `{title}`"
        )
    columns = {name: column_of(catalogue, name, setting=setting).to_pylist() for name in names}
    rows = (dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True))
    return [template.format_map({name: "" if cell is None else cell for name, cell in row.items()}) for row in rows]


class TextEncoder:
    """A pretrained encoder of texts.

    Args:
        source: folder, hub name, or `package:NAME/FOLDER`, with a tokenizer.
        max_tokens: what a text has beyond is cut off.
    Raises:
        BackboneError: no model with a tokenizer can be loaded from there.
    """

    def __init__(self, source: str, max_tokens: int):
        place = locate_source(source)
        self._max_tokens = max_tokens
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(place)
            self._model: Any = AutoModel.from_pretrained(place, dtype=torch.float32).eval()
        except (OSError, ValueError) as error:
            raise BackboneError(
                "no text encoder can be loaded from here",
                where=source,
                reason=str(error).splitlines()[0],
                do="give a folder with a model and its tokenizer, a hub name, or `package:NAME/FOLDER`",
            ) from error

    @property
    def width(self) -> int:
        """Width V of the vectors."""
        return int(self._model.config.hidden_size)

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """float32 (n, V), of unit length: the mean of the last hidden states over a text's tokens."""
        if not texts:
            return torch.empty(0, self.width)
        tokens = self._tokenizer(list(texts), truncation=True, max_length=self._max_tokens)["input_ids"]
        order = sorted(range(len(texts)), key=lambda row: len(tokens[row]))  # texts of like length need no padding
        found = torch.empty(len(texts), self.width)
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and (stop + 1 - start) * len(tokens[order[stop]]) <= _BATCH_TOKENS:
                stop += 1
            found[order[start:stop]] = self._means([tokens[row] for row in order[start:stop]])
            start = stop
        return torch.nn.functional.normalize(found, dim=1)

    def _means(self, rows: list[list[int]]) -> Tensor:
        lengths = torch.tensor([len(row) for row in rows]).unsqueeze(1)
        inputs = pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], batch_first=True)
        mask = torch.arange(inputs.shape[1]) < lengths
        hidden = self._model(input_ids=inputs, attention_mask=mask.long()).last_hidden_state
        means: Tensor = (hidden * mask.unsqueeze(2)).sum(1) / lengths.clamp(min=1)
        return means
