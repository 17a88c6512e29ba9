"""Cross-entropy over the target and drawn negatives."""

from __future__ import annotations

import torch
from torch import Tensor

from seqrec.models.losses.negatives import Negatives
from seqrec.models.losses.sampled import SampledLoss, Terms


class SampledSoftmax(SampledLoss):
    """Cross-entropy of the target against negatives, corrected so that it estimates the full one.

    A negative stands for count / expected count items: the logarithm is added to its score. So the sum of exponentials
    estimates that over all other items, whatever the sources. The target is there by right and is not corrected.

        loss = log(exp s⁺ + Σ_negatives count / expected · exp s) - s⁺

    Source: logQ correction after Bengio & Senécal 2008 and Yi et al. 2019, "Sampling-bias-corrected neural modeling".
    """

    def terms(self, positive: Tensor, scores: Tensor, negatives: Negatives, n_items: int) -> Terms:
        """As `SampledLoss.terms`."""
        scores += negatives.counts.log() - negatives.log_expected
        top = torch.maximum(positive, scores.amax(1))
        weights = scores.sub_(top.unsqueeze(1)).exp_()
        others = weights.sum(1)
        total = others + (positive - top).exp_()
        loss = total.log() + top - positive
        return Terms(loss, -others / total, weights.div_(total.unsqueeze(1)))
