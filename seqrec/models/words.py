"""Words of a pretrained backbone: its tokenizer and their vectors, which item vectors or text take the place of."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from seqrec.errors import BackboneError
from seqrec.models.sources import locate_source


class Words(NamedTuple):
    """The words of a backbone.

    Attributes:
        tokenizer: of Hugging Face.
        vectors: float32 (W, H).
    """

    tokenizer: PreTrainedTokenizerBase
    vectors: Tensor


def load_words(source: str) -> Words:
    """The words of a pretrained backbone.

    Args:
        source: as in `PretrainedBackboneSettings`.
    Raises:
        BackboneError: there are none.
    """
    place = locate_source(source)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(place)
        model = AutoModel.from_pretrained(place, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise BackboneError(
            "no tokenizer and word vectors can be loaded from here",
            where=f"model.backbone.source: {source}",
            reason=str(error).splitlines()[0],
            do="give a folder with the model and its tokenizer",
        ) from error
    return Words(tokenizer, model.get_input_embeddings().weight.detach())


def give_back_words(model: PreTrainedModel, words: Words) -> None:
    """Puts a backbone's words into it again, in place, which `load_backbone` took out."""
    count, width = words.vectors.shape
    model.set_input_embeddings(nn.Embedding(count, width, _weight=words.vectors.clone()))
    model.config.vocab_size = count
    model.config.pad_token_id = words.tokenizer.pad_token_id
