"""seqrec itself: a recipe, with the sizes of the task; no validation and no checkpoints are in the time of an epoch."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from system import K, Task, Turns

from seqrec.evaluation import rank_users
from seqrec.recipe import build, ensure_store, load_recipe


class Sasrec:
    packages = ("seqrec", "lightning", "transformers", "numpy")

    def __init__(self, task: Task):
        sampled = f"{{kind: sampled_softmax, negatives: {{uniform: {task.negatives}}}}}"
        overrides = [
            f"model.items.width={task.width}",
            f"model.backbone.width={task.width}",
            f"model.backbone.layers={task.blocks}",
            f"model.backbone.heads={task.heads}",
            f"model.backbone.inner={task.width}",  # as SASRec's, and so the peers'
            f"model.loss={sampled if task.negatives else '{kind: full_softmax}'}",
            f"data.max_length={task.max_length}",
            f"seed={task.seed}",
            "loggers=[]",
        ]
        recipe = load_recipe(task.recipe, overrides)
        ensure_store(recipe)
        self._parts = build(recipe, task.folder)
        self.settings: dict[str, Any] = {
            "recipe": task.recipe.name,
            "step_tokens": recipe.data.step_tokens,
            "epochs": recipe.trainer["max_epochs"],
            "loss": recipe.model.loss.model_dump(mode="json"),
            "backbone": recipe.model.backbone.model_dump(mode="json"),
            "optimizer": recipe.optimizer.model_dump(mode="json"),
        }

    def train(self, turns: Turns) -> None:
        trainer, module, data = self._parts
        trainer.limit_val_batches = 0
        trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, EarlyStopping)]
        trainer.callbacks.insert(0, turns.callback(Callback))
        trainer.fit(module, data)

    @torch.inference_mode()
    def lists(self, part: str) -> tuple[np.ndarray, float]:
        _, module, data = self._parts
        model = module.model.eval()
        started = time.perf_counter()
        stream = data.evaluation(part)
        found = [(batch.rows, rank_users(model, batch, k=K).top_items) for batch in stream.loader(0, 1)]
        rows, items = (torch.cat(column).numpy() for column in zip(*found, strict=True))
        seconds = time.perf_counter() - started
        listed = np.empty((len(rows), K), dtype=np.int32)
        listed[rows] = items
        return listed, seconds
