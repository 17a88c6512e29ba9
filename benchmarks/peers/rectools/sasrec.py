"""RecTools' SASRecModel, as its transformers tutorial sets it up.

The sampled softmax draws negatives for every position: it has no shared ones.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.item_net import IdEmbeddingsItemNet
from system import K, Sequences, Task, Turns

START = np.datetime64("2020-01-01")


class Sasrec:
    packages = ("rectools", "pytorch-lightning", "numpy", "pandas")

    def __init__(self, task: Task):
        self._task = task
        self.settings: dict[str, Any] = {
            "batch_size": 128,
            "dropout_rate": 0.2,
            "lr": 1e-3,
            "loss": "sampled_softmax" if task.negatives else "softmax",
        }
        if task.negatives:
            self.settings["n_negatives"] = task.negatives
        self._datasets = {part: dataset(task, part) for part in ("train", "validation", "test")}

    def train(self, turns: Turns) -> None:
        seed_everything(self._task.seed)
        self._model = SASRecModel(
            n_factors=self._task.width,
            n_blocks=self._task.blocks,
            n_heads=self._task.heads,
            session_max_len=self._task.max_length,
            item_net_block_types=(IdEmbeddingsItemNet,),  # there are no features
            get_trainer_func=lambda: trainer(turns.callback(Callback)),
            recommend_batch_size=256,
            **self.settings,
        )
        self._model.fit(self._datasets["train"])

    def lists(self, part: str) -> tuple[np.ndarray, float]:
        data = self._datasets[part]
        users = np.arange(len(Sequences.read(self._task.data, part).starts))
        self._model.is_fitted = True  # to the model, training has not ended yet
        started = time.perf_counter()
        table = self._model.recommend(users, data, k=K, filter_viewed=True, on_unsupported_targets="ignore")
        seconds = time.perf_counter() - started
        listed = np.zeros((len(users), K), dtype=np.int32)
        listed[table[Columns.User], table[Columns.Rank] - 1] = table[Columns.Item]
        return listed, seconds


def dataset(task: Task, part: str) -> Dataset:
    users, items, positions = Sequences.read(task.data, part).flat()
    table = pd.DataFrame(
        {
            Columns.User: users,
            Columns.Item: items,
            Columns.Weight: 1.0,
            Columns.Datetime: START + positions.astype("timedelta64[s]"),
        }
    )
    return Dataset.construct(table)


def trainer(callback: Callback) -> Trainer:
    return Trainer(
        max_epochs=-1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
    )
