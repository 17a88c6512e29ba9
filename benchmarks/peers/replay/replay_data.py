"""What both generations of RePlay share: descriptions of the data, and the Trainer's arguments."""

from __future__ import annotations

from typing import Any

import pandas as pd
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema
from system import Sequences, Task

# arguments of the Trainer, which leave nothing but training and predicting to be timed
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def schema(task: Task, n_items: int) -> TensorSchema:
    """Items 0..N-1 as the only feature; N is padding."""
    return TensorSchema(
        TensorFeatureInfo(
            "item_id",
            is_seq=True,
            cardinality=n_items,
            padding_value=n_items,
            embedding_dim=task.width,
            feature_type=FeatureType.CATEGORICAL,
            feature_hint=FeatureHint.ITEM_ID,
            feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
        )
    )


def table(task: Task, part: str) -> pd.DataFrame:
    """One row a user, with items from 0."""
    histories = Sequences.read(task.data, part).lists()
    items = [history.astype("int64") - 1 for history in histories]
    return pd.DataFrame({"user_id": range(len(items)), "item_id": items})
