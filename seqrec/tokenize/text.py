"""Item vectors from text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from seqrec.errors import BackboneError, RecipeError, nearest
from seqrec.models import locate_source
from seqrec.store import Catalogue
from seqrec.tokenize.settings import TextVectorSettings

_BATCH_TOKENS = 4096


def item_texts(catalogue: Catalogue, columns: Sequence[str]) -> list[str]:
    """N texts, what the columns say one after another; empty where they say nothing.

    Raises:
        RecipeError: the catalogue has no such column.
    """
    for column in columns:
        if column not in catalogue.table.column_names:
            near = nearest(column, catalogue.table.column_names)
            raise RecipeError(
                f"the catalogue has no column `{column}`",
                where="tokenizer.vectors: columns",
                has=", ".join(f"`{name}`" for name in catalogue.table.column_names),
                do=f"did you mean `{near}`?" if near else "name a column of the store's catalogue",
            )
    parts = [catalogue.table.column(column).to_pylist() for column in columns]
    return [". ".join(str(one).replace("|", ", ") for one in row if one) for row in zip(*parts, strict=True)]


@torch.no_grad()
def text_vectors(texts: Sequence[str], settings: TextVectorSettings) -> Tensor:
    """float32 (n, D), of unit length: the mean of the last hidden states over a text's tokens.

    Raises:
        BackboneError: no encoder with a tokenizer can be loaded from the source.
    """
    source = locate_source(settings.source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        encoder = AutoModel.from_pretrained(source, dtype=torch.float32).eval()
    except (OSError, ValueError) as error:
        raise BackboneError(
            "no text encoder can be loaded from here",
            where=f"tokenizer.vectors: source: {settings.source}",
            reason=str(error).splitlines()[0],
            do="give a folder with a model and its tokenizer, a hub name, or `package:NAME/FOLDER`",
        ) from error
    tokens = tokenizer(list(texts), truncation=True, max_length=settings.max_tokens)["input_ids"]
    found = torch.empty(len(texts), encoder.config.hidden_size)
    batch: list[int] = []
    for row in sorted(range(len(texts)), key=lambda row: len(tokens[row])):
        if batch and (len(batch) + 1) * len(tokens[row]) > _BATCH_TOKENS:
            found[batch] = _encode(encoder, [tokens[one] for one in batch])
            batch = []
        batch.append(row)
    found[batch] = _encode(encoder, [tokens[one] for one in batch])
    return torch.nn.functional.normalize(found, dim=1)


def _encode(encoder: torch.nn.Module, rows: list[list[int]]) -> Tensor:
    inputs = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    lengths = torch.tensor([len(row) for row in rows]).unsqueeze(1)
    mask = torch.arange(inputs.shape[1]) < lengths
    hidden = encoder(input_ids=inputs, attention_mask=mask.long()).last_hidden_state
    means: Tensor = (hidden * mask.unsqueeze(2)).sum(1) / lengths
    return means
