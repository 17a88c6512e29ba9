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
from seqrec.models.backbones import Backbone, fingerprint
from seqrec.models.heads import MaskedItem, MaskedItemSettings, NextItem, NextItemSettings, Pairs, build_head
from seqrec.models.items import MASK, PAD, IdItemsSettings, ItemTable
from seqrec.models.losses import FullSoftmax, FullSoftmaxSettings, SampledSoftmax, SampledSoftmaxSettings, build_loss
from seqrec.models.model import ModelSettings, ParameterCounts, SequenceModel, build_model, merged
from seqrec.models.sources import ConfiguredBackboneSettings, PretrainedBackboneSettings, load_backbone

__all__ = [
    "MASK",
    "PAD",
    "AdaLoraSettings",
    "Backbone",
    "ConfiguredBackboneSettings",
    "FullSoftmax",
    "FullSoftmaxSettings",
    "IdItemsSettings",
    "ItemTable",
    "LoraSettings",
    "MaskedItem",
    "MaskedItemSettings",
    "ModelSettings",
    "NextItem",
    "NextItemSettings",
    "Pairs",
    "ParameterCounts",
    "PretrainedBackboneSettings",
    "SampledSoftmax",
    "SampledSoftmaxSettings",
    "SequenceModel",
    "allocate_ranks",
    "allocator_state",
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
