"""Store to batches: order, position, collation, the LightningDataModule."""

from seqrec.stream.batches import EvaluationBatch, Position, TrainingBatch
from seqrec.stream.datamodule import SequenceDataModule, TrainingLoader
from seqrec.stream.evaluation_stream import EvaluatedUsers, EvaluationCounts, EvaluationStream, Histories
from seqrec.stream.in_batch import chosen
from seqrec.stream.long_histories import ChunksSettings, LatestSettings, LongHistories, SlidingSettings
from seqrec.stream.outcome_stream import OutcomeBatch, OutcomeStream
from seqrec.stream.settings import DataSettings
from seqrec.stream.training_stream import Task, TrainingStream

__all__ = [
    "ChunksSettings",
    "DataSettings",
    "EvaluatedUsers",
    "EvaluationBatch",
    "EvaluationCounts",
    "EvaluationStream",
    "Histories",
    "LatestSettings",
    "LongHistories",
    "OutcomeBatch",
    "OutcomeStream",
    "Position",
    "SequenceDataModule",
    "SlidingSettings",
    "Task",
    "TrainingBatch",
    "TrainingLoader",
    "TrainingStream",
    "chosen",
]
