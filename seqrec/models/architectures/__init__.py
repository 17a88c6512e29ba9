"""Sequence models of our own, as Hugging Face models: recurrent ones, HSTU, a gated transformer."""

from typing import Annotated

from pydantic import Field

from seqrec.models.architectures.base import ComputationSettings, Network, NetworkConfig, NetworkSettings
from seqrec.models.architectures.gated_transformer import (
    GatedTransformer,
    GatedTransformerConfig,
    GatedTransformerSettings,
)
from seqrec.models.architectures.hstu import Hstu, HstuConfig, HstuSettings
from seqrec.models.architectures.recurrent import RecurrentConfig, RecurrentNetwork, RecurrentSettings

OwnBackboneSettings = Annotated[
    RecurrentSettings | HstuSettings | GatedTransformerSettings, Field(discriminator="kind")
]

__all__ = [
    "ComputationSettings",
    "GatedTransformer",
    "GatedTransformerConfig",
    "GatedTransformerSettings",
    "Hstu",
    "HstuConfig",
    "HstuSettings",
    "Network",
    "NetworkConfig",
    "NetworkSettings",
    "OwnBackboneSettings",
    "RecurrentConfig",
    "RecurrentNetwork",
    "RecurrentSettings",
]
