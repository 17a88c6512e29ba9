"""Items, backbones, adapters, heads and losses: plain torch modules, put together by `build_model`."""

from seqrec.models.adapters import (
    AdaLoraSettings,
    LoraSettings,
    allocate_ranks,
    allocator_state,
    attach,
    load_allocator_state,
    orthogonality_penalty,
    rank_pattern,
)
from seqrec.models.architectures import GatedTransformerSettings, HstuSettings, RecurrentSettings
from seqrec.models.backbones import Backbone, fingerprint
from seqrec.models.events import EventEmbedding, EventSettings
from seqrec.models.heads import MaskedItem, MaskedItemSettings, NextItem, NextItemSettings, Pairs, Query, build_head
from seqrec.models.items import MASK, PAD, IdItemsSettings, Items, ItemTable
from seqrec.models.losses import (
    Bce,
    BceSettings,
    Bpr,
    BprSettings,
    FullSoftmax,
    FullSoftmaxSettings,
    GBce,
    GBceSettings,
    Negatives,
    NegativeSampler,
    NegativesSettings,
    SampledLoss,
    SampledSoftmax,
    SampledSoftmaxSettings,
    build_loss,
)
from seqrec.models.model import ModelSettings, SequenceModel, assemble, build_model, merged
from seqrec.models.pooling import Pooling
from seqrec.models.ranking_model import ParameterCounts, RankingModel
from seqrec.models.sources import ConfiguredBackboneSettings, PretrainedBackboneSettings, load_backbone

__all__ = [
    "MASK",
    "PAD",
    "AdaLoraSettings",
    "Backbone",
    "Bce",
    "BceSettings",
    "Bpr",
    "BprSettings",
    "ConfiguredBackboneSettings",
    "EventEmbedding",
    "EventSettings",
    "FullSoftmax",
    "FullSoftmaxSettings",
    "GBce",
    "GBceSettings",
    "GatedTransformerSettings",
    "HstuSettings",
    "IdItemsSettings",
    "ItemTable",
    "Items",
    "LoraSettings",
    "MaskedItem",
    "MaskedItemSettings",
    "ModelSettings",
    "NegativeSampler",
    "Negatives",
    "NegativesSettings",
    "NextItem",
    "NextItemSettings",
    "Pairs",
    "ParameterCounts",
    "Pooling",
    "PretrainedBackboneSettings",
    "Query",
    "RankingModel",
    "RecurrentSettings",
    "SampledLoss",
    "SampledSoftmax",
    "SampledSoftmaxSettings",
    "SequenceModel",
    "allocate_ranks",
    "allocator_state",
    "assemble",
    "attach",
    "build_head",
    "build_loss",
    "build_model",
    "fingerprint",
    "load_allocator_state",
    "load_backbone",
    "merged",
    "orthogonality_penalty",
    "rank_pattern",
]
