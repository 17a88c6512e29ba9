"""The LightningModule, its callbacks, optimisers and checkpoints."""

from seqrec.training.callbacks import AllocateRanks, KeepPosition, SettleBuckets, StepMetrics
from seqrec.training.checkpoints import AtomicCheckpointIO, load_weights, read_checkpoint
from seqrec.training.faults import FaultSettings, NonfiniteLoss, limit_waiting
from seqrec.training.module import VALIDATION_PREFIX, SequenceRecommender
from seqrec.training.optimizer import OptimizerSettings
from seqrec.training.rank_watch import RankWatch
from seqrec.training.selection import (
    BEST,
    LAST,
    BestCheckpoint,
    LastCheckpoint,
    SelectionSettings,
    selection_callbacks,
)

__all__ = [
    "BEST",
    "LAST",
    "VALIDATION_PREFIX",
    "AllocateRanks",
    "AtomicCheckpointIO",
    "BestCheckpoint",
    "FaultSettings",
    "KeepPosition",
    "LastCheckpoint",
    "NonfiniteLoss",
    "OptimizerSettings",
    "RankWatch",
    "SelectionSettings",
    "SequenceRecommender",
    "SettleBuckets",
    "StepMetrics",
    "limit_waiting",
    "load_weights",
    "read_checkpoint",
    "selection_callbacks",
]
