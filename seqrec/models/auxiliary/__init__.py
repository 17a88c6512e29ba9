"""Objectives beside next items, in training only: sequences told apart, and masked events."""

from seqrec.models.auxiliary.model import AuxiliaryModel
from seqrec.models.auxiliary.settings import (
    AugmentedViewsSettings,
    AuxiliarySettings,
    ContrastiveSettings,
    DropoutViewsSettings,
    MaskedEventsSettings,
    check_views,
)

__all__ = [
    "AugmentedViewsSettings",
    "AuxiliaryModel",
    "AuxiliarySettings",
    "ContrastiveSettings",
    "DropoutViewsSettings",
    "MaskedEventsSettings",
    "check_views",
]
