"""RePlay's current SasRec, of `replay.nn`, as its notebook 09 sets it up, with what the release adds for speed.

Data by `ParquetModule`; `LengthBucketedQueryEncoder` spares the encoder most of the padding; the sampled loss is
`CESampled` over negatives that the batch shares.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from replay.data.nn import ParquetModule
from replay.nn.agg import SumAggregator
from replay.nn.embedding import SequenceEmbedding
from replay.nn.lightning import LightningModule
from replay.nn.lightning.callback import TorchTopItemsCallback
from replay.nn.lightning.postprocessor import SeenItemsFilter
from replay.nn.loss import CE, CESampled
from replay.nn.mask import DefaultAttentionMask
from replay.nn.sequential import (
    LengthBucketedQueryEncoder,
    PositionAwareAggregator,
    SasRec,
    SasRecBody,
    SasRecTransformerLayer,
)
from replay.nn.transform import UniformNegativeSamplingTransform
from replay.nn.transform.template import make_default_sasrec_transforms
from replay_data import QUIET, schema, table
from system import K, Sequences, Task, Turns


class Sasrec:
    packages = ("replay-rec", "lightning", "numpy", "pandas", "pyarrow")

    def __init__(self, task: Task):
        self._task = task
        self._n_items = Sequences.read(task.data, "train").n_items
        self._schema = schema(task, self._n_items)
        self.settings: dict[str, Any] = {
            "batch_size": 128,
            "bucket_size": 32,
            "dropout": 0.3,
            "loss": "CESampled, negatives shared by the batch" if task.negatives else "CE",
        }
        if task.negatives:
            self.settings["num_negative_samples"] = task.negatives
        for part in ("train", "validation", "test"):
            rows = table(task, part)
            rows["seen_ids"] = rows["item_id"]
            rows.to_parquet(self._path(part))

    def _path(self, part: str) -> str:
        return str(self._task.folder / f"{part}.parquet")

    def train(self, turns: Turns) -> None:
        L.seed_everything(self._task.seed)
        self._module = LightningModule(self._model())
        transforms = make_default_sasrec_transforms(self._schema)
        if self._task.negatives:
            transforms["train"].append(UniformNegativeSamplingTransform(self._n_items, self._task.negatives))
        data = ParquetModule(
            train_path=self._path("train"),
            batch_size=self.settings["batch_size"],
            metadata={"train": {"item_id": self._column(self._task.max_length + 1)}},
            transforms=transforms,
        )
        trainer = L.Trainer(max_epochs=-1, limit_val_batches=0, callbacks=[turns.callback(Callback)], **QUIET)
        trainer.fit(self._module, datamodule=data)

    def lists(self, part: str) -> tuple[np.ndarray, float]:
        histories = Sequences.read(self._task.data, part)
        longest = int((histories.ends - histories.starts).max())
        top = TorchTopItemsCallback(K, query_column="user_id", postprocessors=[SeenItemsFilter(self._n_items)])
        module = LightningModule(copy.deepcopy(self._module.model)).eval()  # the trained one belongs to its Trainer
        trainer = L.Trainer(callbacks=[top], inference_mode=True, **QUIET)
        started = time.perf_counter()
        data = ParquetModule(
            predict_path=self._path(part),
            batch_size=256,
            metadata={
                "predict": {
                    "user_id": {},
                    "item_id": self._column(self._task.max_length),
                    "seen_ids": {"shape": longest, "padding": self._n_items},
                }
            },
            transforms=make_default_sasrec_transforms(self._schema),
        )
        trainer.predict(module, datamodule=data, return_predictions=False)
        users, items, _ = top.get_result()
        seconds = time.perf_counter() - started
        listed = np.zeros((len(users), K), dtype=np.int32)
        listed[users.long().numpy()] = items.numpy() + 1
        return listed, seconds

    def _column(self, length: int) -> dict[str, int]:
        return {"shape": length, "padding": self._n_items}

    def _model(self) -> SasRec:
        task, dropout = self._task, self.settings["dropout"]
        encoder = SasRecTransformerLayer(
            embedding_dim=task.width,
            num_heads=task.heads,
            num_blocks=task.blocks,
            dropout=dropout,
            activation="relu",
        )
        body = SasRecBody(
            embedder=SequenceEmbedding(schema=self._schema),
            embedding_aggregator=PositionAwareAggregator(
                embedding_aggregator=SumAggregator(embedding_dim=task.width),
                max_sequence_length=task.max_length,
                dropout=dropout,
            ),
            attn_mask_builder=DefaultAttentionMask(reference_feature_name="item_id", num_heads=task.heads),
            encoder=LengthBucketedQueryEncoder(encoder, bucket_size=self.settings["bucket_size"]),
            output_normalization=torch.nn.LayerNorm(task.width),
        )
        return SasRec(body, CESampled() if task.negatives else CE(ignore_index=self._n_items))
