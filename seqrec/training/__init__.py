"""The LightningModule, its callbacks, optimisers and checkpoints."""

from seqrec.training.callbacks import AllocateRanks, KeepPosition, SettleBuckets, StepMetrics, TrainingTime
from seqrec.training.checkpoints import AtomicCheckpointIO, load_weights, read_checkpoint, weights_of
from seqrec.training.continuing import check_can_continue
from seqrec.training.faults import FaultSettings, NonfiniteLoss, limit_waiting
from seqrec.training.folders import (
    SavedCheckpoint,
    best_of,
    check_whole,
    checkpoints_in,
    newest_to_continue,
    newest_whole,
)
from seqrec.training.module import VALIDATION_PREFIX, SequenceRecommender
from seqrec.training.optimizer import OptimizerSettings
from seqrec.training.preemption import StopOnSignal
from seqrec.training.rank_watch import RankWatch
from seqrec.training.selection import KeepCheckpoints, SelectionSettings, selection_callbacks
from seqrec.training.states import read_state

__all__ = [
    "VALIDATION_PREFIX",
    "AllocateRanks",
    "AtomicCheckpointIO",
    "FaultSettings",
    "KeepCheckpoints",
    "KeepPosition",
    "NonfiniteLoss",
    "OptimizerSettings",
    "RankWatch",
    "SavedCheckpoint",
    "SelectionSettings",
    "SequenceRecommender",
    "SettleBuckets",
    "StepMetrics",
    "StopOnSignal",
    "TrainingTime",
    "best_of",
    "check_can_continue",
    "check_whole",
    "checkpoints_in",
    "limit_waiting",
    "load_weights",
    "newest_to_continue",
    "newest_whole",
    "read_checkpoint",
    "read_state",
    "selection_callbacks",
    "weights_of",
]
