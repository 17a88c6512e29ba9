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
from seqrec.models.auxiliary import AuxiliaryModel, AuxiliarySettings
from seqrec.models.backbones import Backbone, fingerprint
from seqrec.models.build import ModelSettings, assemble, build_model, check_parts, merged, with_table
from seqrec.models.events import EventEmbedding, EventSettings
from seqrec.models.fused_items import CategorySettings, FeatureItemsSettings, FusedItems, FusedItemsSettings
from seqrec.models.heads import (
    MaskedItem,
    MaskedItemSettings,
    NextItem,
    NextItemSettings,
    OneOutcome,
    Outcome,
    Pairs,
    Query,
    SemanticIdSettings,
    Slate,
    build_head,
)
from seqrec.models.item_features import ItemFeatures
from seqrec.models.items import MASK, PAD, IdItemsSettings, ItemAttributes, Items, ItemTable
from seqrec.models.list_request import ListRequest
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
from seqrec.models.micro_batch import MicroBatch
from seqrec.models.model import SequenceModel
from seqrec.models.outcome import VectorOutcomeModel
from seqrec.models.outcome_model import OutcomeModel
from seqrec.models.pooling import Pooling
from seqrec.models.quantization import is_quantized
from seqrec.models.ranking_model import ParameterCounts, RankingModel
from seqrec.models.scores import CosineScoresSettings, DotScoresSettings
from seqrec.models.semantic import CODES_FILE, SemanticIdModel, SemanticIds, SemanticItemsSettings
from seqrec.models.slate import SlateModel
from seqrec.models.slate_settings import BeamSettings, DecodingSettings, GreedySettings, SlateSettings, TopPSettings
from seqrec.models.sources import (
    BackboneSettings,
    ConfiguredBackboneSettings,
    PretrainedBackboneSettings,
    load_backbone,
    locate_source,
)
from seqrec.models.text_histories import HistoryText, HistoryWriter, TextHistorySettings
from seqrec.models.text_outcome import TextOutcomeModel
from seqrec.models.words import Words, give_back_words, load_words

__all__ = [
    "CODES_FILE",
    "MASK",
    "PAD",
    "AdaLoraSettings",
    "AuxiliaryModel",
    "AuxiliarySettings",
    "Backbone",
    "BackboneSettings",
    "Bce",
    "BceSettings",
    "BeamSettings",
    "Bpr",
    "BprSettings",
    "CategorySettings",
    "ConfiguredBackboneSettings",
    "CosineScoresSettings",
    "DecodingSettings",
    "DotScoresSettings",
    "EventEmbedding",
    "EventSettings",
    "FeatureItemsSettings",
    "FullSoftmax",
    "FullSoftmaxSettings",
    "FusedItems",
    "FusedItemsSettings",
    "GBce",
    "GBceSettings",
    "GatedTransformerSettings",
    "GreedySettings",
    "HistoryText",
    "HistoryWriter",
    "HstuSettings",
    "IdItemsSettings",
    "ItemAttributes",
    "ItemFeatures",
    "ItemTable",
    "Items",
    "ListRequest",
    "LoraSettings",
    "MaskedItem",
    "MaskedItemSettings",
    "MicroBatch",
    "ModelSettings",
    "NegativeSampler",
    "Negatives",
    "NegativesSettings",
    "NextItem",
    "NextItemSettings",
    "OneOutcome",
    "Outcome",
    "OutcomeModel",
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
    "SemanticIdModel",
    "SemanticIdSettings",
    "SemanticIds",
    "SemanticItemsSettings",
    "SequenceModel",
    "Slate",
    "SlateModel",
    "SlateSettings",
    "TextHistorySettings",
    "TextOutcomeModel",
    "TopPSettings",
    "VectorOutcomeModel",
    "Words",
    "allocate_ranks",
    "allocator_state",
    "assemble",
    "attach",
    "build_head",
    "build_loss",
    "build_model",
    "check_parts",
    "fingerprint",
    "give_back_words",
    "is_quantized",
    "load_allocator_state",
    "load_backbone",
    "load_words",
    "locate_source",
    "merged",
    "orthogonality_penalty",
    "rank_pattern",
    "with_table",
]
