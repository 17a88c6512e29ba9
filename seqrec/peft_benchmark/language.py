"""What fine-tuning leaves of a pretrained backbone's own ability, on titles that it was not trained on as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from seqrec.models import Backbone, PretrainedBackboneSettings, load_backbone
from seqrec.models.sources import locate_source
from seqrec.recipe import Run

_TITLES = 256
_TOKENS = 32  # of a title, at most
_BATCH = 32


class Language:
    """Titles as a pretrained model reads them.

    Args:
        source: as `model.backbone.source`.
        titles: some are taken, evenly over all.
        causal: whether the model is a decoder, asked for the next token; else an encoder, asked how alike titles are.

    Raises:
        OSError, ValueError: the source has no tokenizer.
    """

    def __init__(self, source: str, titles: Sequence[str], *, causal: bool):
        place = locate_source(source)
        tokenizer: Any = AutoTokenizer.from_pretrained(place)
        chosen = [titles[i] for i in np.linspace(0, len(titles) - 1, min(_TITLES, len(titles))).astype(int)]
        tokens = tokenizer(chosen, truncation=True, max_length=_TOKENS)["input_ids"]
        self._rows = [torch.tensor(row) for row in tokens if len(row) > 1]
        self._head: Any = None
        if causal:
            whole: Any = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
            self._head = whole.get_output_embeddings()
        else:
            whole = AutoModel.from_pretrained(place, dtype=torch.float32)
        self._words = whole.get_input_embeddings()

    @torch.inference_mode()
    def next_token_loss(self, backbone: Backbone) -> float:
        """Nats a token of the titles, the first one given."""
        total, count = 0.0, 0
        for rows, lengths, hidden in self._read(backbone):
            real = torch.arange(1, rows.shape[1]) < lengths.unsqueeze(1)
            logits = self._head(hidden[:, :-1][real])
            total += float(F.cross_entropy(logits, rows[:, 1:][real], reduction="sum"))
            count += int(real.sum())
        return total / count

    @torch.inference_mode()
    def similarities(self, backbone: Backbone) -> Tensor:
        """float (n, n), cosines between titles, each as the mean of its tokens' hidden vectors."""
        means = []
        for rows, lengths, hidden in self._read(backbone):
            real = (torch.arange(rows.shape[1]) < lengths.unsqueeze(1)).unsqueeze(2)
            means.append((hidden * real).sum(1) / lengths.unsqueeze(1))
        vectors = F.normalize(torch.cat(means), dim=1)
        return vectors @ vectors.T

    def _read(self, backbone: Backbone) -> Any:
        for start in range(0, len(self._rows), _BATCH):
            some = self._rows[start : start + _BATCH]
            lengths = torch.tensor([len(row) for row in some])
            rows = pad_sequence(some, batch_first=True)
            yield rows, lengths, backbone(self._words(rows), lengths)


def forgetting(run: Run) -> dict[str, float] | None:
    """How a run's backbone does on language beside the pretrained one.

    Args:
        run: finished.
    Returns:
        Of a decoder `next_token_loss` and `next_token_loss_before`; of an encoder `similarity_drift`, the mean change
        of the cosine between two titles. None where the backbone is not pretrained, or has no tokenizer, or there are
        no titles.
    """
    settings, titles = run.recipe.model.backbone, run.data.store.catalogue.titles
    if not isinstance(settings, PretrainedBackboneSettings) or settings.quantize is not None or titles is None:
        return None
    before = Backbone(load_backbone(settings, positions=_TOKENS).eval())
    try:
        language = Language(settings.source, titles, causal=before.causal)
    except (OSError, ValueError):
        return None
    after = run.model.backbone
    if before.causal:
        losses = {"next_token_loss_before": before, "next_token_loss": after}
        return {name: round(language.next_token_loss(one), 4) for name, one in losses.items()}
    changed = language.similarities(after) - language.similarities(before)
    apart = ~torch.eye(len(changed), dtype=torch.bool)
    return {"similarity_drift": round(float(changed[apart].abs().mean()), 4)}
