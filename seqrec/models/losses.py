"""Losses over the catalogue, from hidden vectors and the item table."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Discriminator, Field, Tag
from torch import Tensor, nn
from torch.nn import LinearCrossEntropyOptions

from seqrec.settings import CustomSettings, Settings, tag_of_kind

# logits of a chunk near the size of a last-level cache: 86 targets of 12,000 items take 4 MB
_CHUNK_BYTES = 4 * 2**20
# each chunk also adds to the whole table's gradient, which costs more than its logits where the chunk is thin
_LEAST_CHUNK = 64


class FullSoftmaxSettings(Settings):
    """Cross-entropy over every item."""

    kind: Literal["full_softmax"] = "full_softmax"


class SampledSoftmaxSettings(Settings):
    """Cross-entropy over the target and negatives drawn uniformly, shared by the positions of a step."""

    kind: Literal["sampled_softmax"]
    negatives: int = Field(default=512, ge=1, description="Negatives of a step.")


LossSettings = Annotated[
    Annotated[FullSoftmaxSettings, Tag("full_softmax")]
    | Annotated[SampledSoftmaxSettings, Tag("sampled_softmax")]
    | Annotated[CustomSettings, Tag("custom")],
    Discriminator(tag_of_kind),
]


class FullSoftmax(nn.Module):
    """Exact cross-entropy, computed in chunks of positions so that the logits matrix never exists."""

    n_negatives = 0

    def forward(self, hidden: Tensor, targets: Tensor, table: Tensor, negatives: Tensor | None = None) -> Tensor:
        """Summed loss.

        Args:
            hidden: float (T, D), one row a target; T may be 0, and then all gradients are zero.
            targets: int64 (T,), 1..N.
            table: float (N, D).
            negatives: not used.
        Returns:
            float (), in the dtype of the table: the sum over targets.
        """
        options = LinearCrossEntropyOptions(batch_chunk_size=_chunk_size(len(hidden), len(table)))
        # under autocast the backbone may give bfloat16, in which a sum over the catalogue would be far too coarse
        return F.linear_cross_entropy(hidden.to(table.dtype), table, targets - 1, reduction="sum", options=options)


def _chunk_size(n_targets: int, n_items: int) -> int:
    return max(1, min(n_targets, max(_LEAST_CHUNK, _CHUNK_BYTES // (4 * n_items))))


class SampledSoftmax(nn.Module):
    """Cross-entropy of the target against m shared uniform negatives, corrected so that it estimates the full one.

    From each negative's logit log(m / N), the logarithm of its expected count, is subtracted; the target is there by
    right and is not corrected. A negative that equals the row's target is left out.

    Source: logQ correction after Bengio & Senécal 2008 and Yi et al. 2019, "Sampling-bias-corrected neural modeling".
    """

    def __init__(self, n_negatives: int):
        super().__init__()
        self.n_negatives = n_negatives

    def forward(self, hidden: Tensor, targets: Tensor, table: Tensor, negatives: Tensor | None = None) -> Tensor:
        """Summed loss; arguments as in `FullSoftmax`, and negatives int64 (m,), 1..N, drawn with replacement."""
        if negatives is None:
            raise ValueError("sampled softmax needs the negatives of the step")
        hidden = hidden.to(table.dtype)
        positive = (hidden * F.embedding(targets - 1, table)).sum(-1, keepdim=True)  # (T, 1)
        logits = hidden @ F.embedding(negatives - 1, table).T  # (T, m)
        logits = logits - math.log(len(negatives) / len(table))
        logits = logits.masked_fill(negatives == targets.unsqueeze(1), float("-inf"))
        return (torch.logsumexp(torch.cat([positive, logits], dim=1), dim=1) - positive.squeeze(1)).sum()


Loss = FullSoftmax | SampledSoftmax


def build_loss(settings: FullSoftmaxSettings | SampledSoftmaxSettings | CustomSettings) -> Loss:
    """The loss that a recipe names; one of the user's own is called as `FullSoftmax` is."""
    if isinstance(settings, CustomSettings):
        loss: Loss = settings.create()
        return loss
    return SampledSoftmax(settings.negatives) if isinstance(settings, SampledSoftmaxSettings) else FullSoftmax()
