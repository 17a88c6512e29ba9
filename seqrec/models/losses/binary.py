"""Losses that tell the target from each negative by a logistic function: BCE, gBCE and BPR."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from seqrec.models.losses.negatives import Negatives
from seqrec.models.losses.sampled import SampledLoss, Terms
from seqrec.models.losses.settings import NegativesSettings


class Bce(SampledLoss):
    """Binary cross-entropy of the target, and of negatives by their mean.

        loss = softplus(-s⁺) + 1/k Σ_k draws softplus(s)

    The mean keeps both halves in balance whatever the number of negatives; a draw that is the target counts as 0.

    Source: with one negative, the loss of SASRec, Kang & McAuley 2018, arXiv:1808.09781.
    """

    def terms(self, positive: Tensor, scores: Tensor, negatives: Negatives, n_items: int) -> Terms:
        """As `SampledLoss.terms`."""
        weights = negatives.counts / negatives.counts.sum()
        return _binary(positive, scores, 1.0, weights)


class GBce(SampledLoss):
    """Generalised binary cross-entropy, which undoes the overconfidence that comes of sampling few negatives.

        loss = (β softplus(-s⁺) + Σ_k draws softplus(s)) / (k + 1),  β = α (t (1 - 1/α) + 1/α),  α = k / (N - 1)

    that is binary cross-entropy with the target's probability to the power β. In float32 the score transform of the
    authors' code overflows; this form is the same and does not. A draw that is the target counts as 0.

    Args:
        settings: where negatives come from; uniform ones, which α supposes.
        calibration: t, 0..1.

    Source: gSASRec, Petrov & Macdonald 2023, arXiv:2308.07192.
    """

    def __init__(self, settings: NegativesSettings, calibration: float):
        super().__init__(settings)
        self.calibration = calibration

    def terms(self, positive: Tensor, scores: Tensor, negatives: Negatives, n_items: int) -> Terms:
        """As `SampledLoss.terms`."""
        n_draws = negatives.counts.sum()
        sampled = (n_draws / max(n_items - 1, 1)).clamp(max=1.0)  # α; draws with replacement may outnumber the items
        beta = self.calibration * (sampled - 1) + 1
        return _binary(positive, scores, beta / (n_draws + 1), negatives.counts / (n_draws + 1))


class Bpr(SampledLoss):
    """Bayesian personalised ranking: the mean over negatives of how far the target is not above them.

        loss = 1/k Σ_k draws softplus(s - s⁺)

    A draw that is the target counts as 0.

    Source: Rendle et al. 2009, arXiv:1205.2618, over k negatives instead of one.
    """

    def terms(self, positive: Tensor, scores: Tensor, negatives: Negatives, n_items: int) -> Terms:
        """As `SampledLoss.terms`."""
        weights = negatives.counts / negatives.counts.sum()
        scores -= positive.unsqueeze(1)
        loss = -(F.logsigmoid(-scores) @ weights)
        by_score = scores.sigmoid_().mul_(weights)
        return Terms(loss, -by_score.sum(1), by_score)


def _binary(positive: Tensor, scores: Tensor, weight: Tensor | float, weights: Tensor) -> Terms:
    """weight · softplus(-s⁺) + Σ weights · softplus(s); `logsigmoid`, as torch's softplus is linear above 20."""
    loss = -(F.logsigmoid(positive) * weight) - F.logsigmoid(-scores) @ weights
    return Terms(loss, -weight * (-positive).sigmoid(), scores.sigmoid_().mul_(weights))
