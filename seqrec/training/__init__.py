"""The LightningModule, its callbacks, optimisers and checkpoints."""

from seqrec.training.callbacks import AllocateRanks, KeepPosition, SettleBuckets, StepMetrics
from seqrec.training.checkpoints import AtomicCheckpointIO, load_weights, read_checkpoint
from seqrec.training.module import VALIDATION_PREFIX, SequenceRecommender
from seqrec.training.optimizer import OptimizerSettings
from seqrec.training.preemption import StopOnSignal
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
    "KeepPosition",
    "LastCheckpoint",
    "OptimizerSettings",
    "SelectionSettings",
    "SequenceRecommender",
    "SettleBuckets",
    "StepMetrics",
    "StopOnSignal",
    "load_weights",
    "read_checkpoint",
    "selection_callbacks",
]
