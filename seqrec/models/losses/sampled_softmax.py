"""Cross-entropy over the target and drawn negatives."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
