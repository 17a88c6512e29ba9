"""Losses over the catalogue, from hidden vectors and the item table."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from seqrec.errors import RecipeError
from seqrec.models.losses.binary import Bce, Bpr, GBce
from seqrec.models.losses.full_softmax import FullSoftmax
from seqrec.models.losses.negatives import Negatives, NegativeSampler
from seqrec.models.losses.sampled import SampledLoss
from seqrec.models.losses.sampled_softmax import SampledSoftmax
from seqrec.models.losses.settings import (
    BceSettings,
    BprSettings,
    FullSoftmaxSettings,
    GBceSettings,
    LossSettings,
    NegativesSettings,
    SampledLossSettings,
    SampledSoftmaxSettings,
)
from seqrec.settings import CustomSettings

__all__ = [
    "Bce",
    "BceSettings",
    "Bpr",
    "BprSettings",
    "FullSoftmax",
    "FullSoftmaxSettings",
    "GBce",
    "GBceSettings",
    "Loss",
    "LossSettings",
    "NegativeSampler",
    "Negatives",
    "NegativesSettings",
    "SampledLoss",
    "SampledSoftmax",
    "SampledSoftmaxSettings",
    "build_loss",
]


class Loss(Protocol):
    """What a loss must be; a recipe names one of the user's own, a torch module, by its import path."""

    @property
    def negatives(self) -> NegativesSettings | None:
        """What it wants drawn for each step, or None."""
        ...

    def __call__(self, hidden: Tensor, targets: Tensor, table: Tensor, negatives: Negatives | None = None) -> Tensor:
        """The summed loss, float (), of hidden (T, D) for targets (T,) over a table (N, D); T may be 0.

        Where the recipe fixes shapes (`data.length_buckets`), a target may be 0: that row counts for nothing.
        """
        ...


def build_loss(settings: FullSoftmaxSettings | SampledLossSettings | CustomSettings) -> Loss:
    """The loss that a recipe names.

    Raises:
        RecipeError: one of the user's own cannot be made, or does not say what negatives it wants.
    """
    match settings:
        case CustomSettings():
            loss: Loss = settings.create()
            if not hasattr(loss, "negatives"):
                raise RecipeError(
                    f"`{settings.kind}` has no attribute `negatives`",
                    where="model.loss",
                    do="set it to None, or to the `NegativesSettings` of what the loss wants drawn for each step",
                )
            return loss
        case FullSoftmaxSettings():
            return FullSoftmax(settings.label_smoothing)
        case GBceSettings():
            return GBce(settings.negatives, settings.calibration)
        case BceSettings():
            return Bce(settings.negatives)
        case BprSettings():
            return Bpr(settings.negatives)
        case SampledSoftmaxSettings():
            return SampledSoftmax(settings.negatives)
