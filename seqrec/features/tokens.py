"""A catalogue's texts as tokens of a backbone, made once and kept."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from platformdirs import user_cache_path
from torch import Tensor

from seqrec.errors import UnsupportedError
from seqrec.features.text import item_texts
from seqrec.models import BackboneSettings, HistoryText, PretrainedBackboneSettings, TextHistorySettings, load_words
from seqrec.store import Catalogue

logger = logging.getLogger(__name__)

Int32 = npt.NDArray[np.int32]


def read_history_text(
    settings: TextHistorySettings,
    backbone: BackboneSettings,
    catalogue: Catalogue,
    *,
    with_mask: bool,
    actions: Sequence[str] = (),
) -> HistoryText:
    """What a model writes histories with.

    Args:
        settings: the recipe's `model.text`.
        backbone: its `model.backbone`, pretrained.
        catalogue: of N items.
        with_mask: whether the head masks events.
        actions: names of the store's action types, in the order of their codes.
    Raises:
        UnsupportedError: the backbone is not pretrained, or has no mask token and the head masks.
        BackboneError: it has no tokenizer.
        RecipeError: the template does not fit the catalogue.
    """
    if not isinstance(backbone, PretrainedBackboneSettings):
        raise UnsupportedError(
            f"a backbone of random weights (`{backbone.kind}`) knows no words",
            where="model.text",
            do="take `model.backbone.kind: pretrained`, or leave `model.text` null",
        )
    texts = item_texts(catalogue, settings.template, setting="model.text.template")
    tokenizer, words = load_words(backbone.source)
    if with_mask and tokenizer.mask_token_id is None:
        raise UnsupportedError(
            "the backbone's tokenizer has no mask token", where="model.head.kind", do="set it to `next_item`"
        )
    start = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id

    def tokens(said: str) -> Tensor:
        return torch.tensor(tokenizer(said, add_special_tokens=False)["input_ids"], dtype=torch.long)

    table = _tokenised(texts, tokenizer, settings.item_tokens, key=backbone.source)
    lengths = torch.from_numpy((table >= 0).sum(1))
    begin = torch.tensor([] if start is None else [start], dtype=torch.long)
    of_action = settings.actions
    return HistoryText(
        words=words,
        prefix=torch.cat([begin, tokens(settings.instruction)]),
        tokens=torch.from_numpy(np.maximum(table, 0).astype(np.int64)),
        lengths=lengths,
        mask=tokenizer.mask_token_id,
        question=tokens(settings.question),
        actions=() if of_action is None else tuple(tokens(of_action.format(action=name)) for name in actions),
    )


def _tokenised(texts: list[str], tokenizer: Any, most: int, *, key: str) -> Int32:
    """int32 (N, M), each text's tokens, 1 to ``most``, then -1; from the cache where it has them."""
    said = json.dumps([key, tokenizer.backend_tokenizer.to_str(), most, texts])
    cache = os.environ.get("SEQREC_CACHE") or user_cache_path("seqrec")
    file = Path(cache) / "tokens" / f"{hashlib.sha256(said.encode()).hexdigest()}.npy"
    if file.is_file():
        found: Int32 = np.load(file, mmap_mode="r")
        return found
    logger.info("tokenising the texts of %s items", f"{len(texts):,}")
    empty = tokenizer.unk_token_id if tokenizer.unk_token_id is not None else 0
    encoded = tokenizer(texts, add_special_tokens=False, truncation=True, max_length=most)["input_ids"]
    rows = [row or [empty] for row in encoded]
    table = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int32)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent)  # ranks of a machine may write it at once
    os.fchmod(descriptor, 0o644)  # mkstemp's 0600 would keep out colleagues who share the cache
    with os.fdopen(descriptor, "wb") as opened:
        np.save(opened, table)
    Path(temporary).replace(file)
    return table
