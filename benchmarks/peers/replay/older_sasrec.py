"""RePlay's older SasRec, of `replay.models.nn`, which its releases still hold, as its earlier notebook set it up."""

from __future__ import annotations

import copy
import time
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from replay.data.nn import PandasSequentialDataset
from replay.models.nn.sequential.callbacks import TorchPredictionCallback
from replay.models.nn.sequential.postprocessors import RemoveSeenItems
from replay.models.nn.sequential.sasrec import SasRec, SasRecPredictionDataset, SasRecTrainingDataset
from replay_data import QUIET, schema, table
from system import K, Sequences, Task, Turns
from torch.utils.data import DataLoader


class Sasrec:
    packages = ("replay-rec", "lightning", "numpy", "pandas")

    def __init__(self, task: Task):
        self._task = task
        self._n_items = Sequences.read(task.data, "train").n_items
        self._schema = schema(task, self._n_items)
        self.settings: dict[str, Any] = {
            "batch_size": 512,
            "dropout_rate": 0.2,
            "loss_type": "CE",
            "loss_sample_count": task.negatives or None,
            "negatives_sharing": task.negatives > 0,
        }

    def train(self, turns: Turns) -> None:
        L.seed_everything(self._task.seed)
        settings = {name: value for name, value in self.settings.items() if name != "batch_size"}
        self._module = SasRec(
            self._schema,
            block_count=self._task.blocks,
            head_count=self._task.heads,
            hidden_size=self._task.width,
            max_seq_len=self._task.max_length,
            **settings,
        )
        dataset = SasRecTrainingDataset(self._sequences("train"), max_sequence_length=self._task.max_length)
        loader = DataLoader(dataset, batch_size=self.settings["batch_size"], shuffle=True)
        L.Trainer(max_epochs=-1, callbacks=[turns.callback(Callback)], **QUIET).fit(self._module, loader)

    def lists(self, part: str) -> tuple[np.ndarray, float]:
        module = copy.deepcopy(self._module).eval()  # the trained one belongs to its Trainer
        histories = self._sequences(part)
        top = TorchPredictionCallback(K, postprocessors=[RemoveSeenItems(histories)])
        trainer = L.Trainer(callbacks=[top], inference_mode=True, **QUIET)
        started = time.perf_counter()
        dataset = SasRecPredictionDataset(histories, max_sequence_length=self._task.max_length)
        trainer.predict(module, DataLoader(dataset, batch_size=512), return_predictions=False)
        users, items, _ = top.get_result()
        seconds = time.perf_counter() - started
        listed = np.zeros((len(users), K), dtype=np.int32)
        listed[users.long().numpy()] = items.numpy() + 1
        return listed, seconds

    def _sequences(self, part: str) -> PandasSequentialDataset:
        return PandasSequentialDataset(self._schema, "user_id", "item_id", table(self._task, part))
