"""Losses over the catalogue, from hidden vectors and the item table."""

from __future__ import annotations

from seqrec.models.losses.full_softmax import FullSoftmax
from seqrec.models.losses.sampled_softmax import SampledSoftmax
from seqrec.models.losses.settings import FullSoftmaxSettings, LossSettings, SampledSoftmaxSettings
from seqrec.settings import CustomSettings

__all__ = [
    "FullSoftmax",
    "FullSoftmaxSettings",
    "Loss",
    "LossSettings",
    "SampledSoftmax",
    "SampledSoftmaxSettings",
    "build_loss",
]

Loss = FullSoftmax | SampledSoftmax


def build_loss(settings: FullSoftmaxSettings | SampledSoftmaxSettings | CustomSettings) -> Loss:
    """The loss that a recipe names; one of the user's own is called as `FullSoftmax` is."""
    if isinstance(settings, CustomSettings):
        loss: Loss = settings.create()
        return loss
    return SampledSoftmax(settings.negatives) if isinstance(settings, SampledSoftmaxSettings) else FullSoftmax()
