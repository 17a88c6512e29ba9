"""Store to batches: order, position, collation, the LightningDataModule."""

from seqrec.stream.batches import EvaluationBatch, Position, TrainingBatch
from seqrec.stream.datamodule import SequenceDataModule
from seqrec.stream.evaluation_stream import EvaluationCounts, EvaluationStream, Histories
from seqrec.stream.in_batch import chosen
from seqrec.stream.settings import DataSettings
from seqrec.stream.training_stream import Task, TrainingStream

__all__ = [
    "DataSettings",
    "EvaluationBatch",
    "EvaluationCounts",
    "EvaluationStream",
    "Histories",
    "Position",
    "SequenceDataModule",
    "Task",
    "TrainingBatch",
    "TrainingStream",
    "chosen",
]
