"""RecBole's SASRec with its own Trainer and property files; cross-entropy only: it has no loss over shared negatives.

RecBole makes a training row of every prefix of every history, so an epoch is many times the work of others; where a
whole one would take hours, as on ML-1M, its first steps are measured (batches are shuffled and all padded to the same
length).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count, islice
from logging import ERROR, getLogger
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from recbole.utils import init_seed
from system import K, Sequences, Task, Turns

NAME = "log"
WHOLE = 100  # steps of an epoch that is trained whole
STEPS = 4  # measured, where an epoch has more than that


class Sasrec:
    packages = ("recbole", "numpy", "pandas", "scipy")

    def __init__(self, task: Task):
        if task.negatives:
            raise SystemExit("RecBole's SASRec has no loss over sampled negatives but BPR with one")
        self._task = task
        self.settings: dict[str, Any] = {
            "train_batch_size": 2048 if task.max_length <= 100 else 512,  # its default, or what memory holds
            "learning_rate": 1e-3,
            "inner_size": task.width,  # as the others' and the paper's; its default is 256
            "hidden_dropout_prob": 0.5,
            "attn_dropout_prob": 0.5,
            "loss_type": "CE",
        }
        write_log(task)
        self._config = Config(
            model="SASRec",
            dataset=NAME,
            config_dict={
                **self.settings,
                "n_layers": task.blocks,
                "n_heads": task.heads,
                "hidden_size": task.width,
                "MAX_ITEM_LIST_LENGTH": task.max_length,
                "train_neg_sample_args": None,
                "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
                "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
                "data_path": str(task.folder),
                "checkpoint_dir": str(task.folder),
                "seed": task.seed,
                "use_gpu": False,
                "show_progress": False,
                "state": "ERROR",
            },
        )
        getLogger().setLevel(ERROR)
        init_seed(task.seed, reproducibility=False)
        self._dataset = create_dataset(self._config)
        self._loaders = dict(
            zip(("train", "validation", "test"), data_preparation(self._config, self._dataset), strict=True)
        )

    def train(self, turns: Turns) -> None:
        self._model = SASRec(self._config, self._loaders["train"].dataset)
        trainer = Trainer(self._config, self._model)
        loader = self._loaders["train"]
        first = FirstSteps(loader, len(loader) if len(loader) <= WHOLE else STEPS)
        for epoch in count():
            turns.wait(self._model)
            trainer._train_epoch(first, epoch)
            turns.done(share=first.steps / len(loader))

    @torch.no_grad()
    def lists(self, part: str) -> tuple[np.ndarray, float]:
        tokens = self._dataset.field2id_token
        histories = Sequences.read(self._task.data, part).lists()
        listed = np.zeros((len(histories), K), dtype=np.int32)
        self._model.eval()
        started = time.perf_counter()
        for interaction, _, _, _ in self._loaders[part]:
            scores = self._model.full_sort_predict(interaction)
            users = tokens["user_id"][interaction["user_id"].numpy()].astype(int)
            seen = [self._dataset.token2id("item_id", histories[user].astype(str)) for user in users]
            scores[:, 0] = -torch.inf
            scores[np.repeat(np.arange(len(users)), [len(items) for items in seen]), np.concatenate(seen)] = -torch.inf
            listed[users] = tokens["item_id"][scores.topk(K).indices.numpy()].astype(np.int32)
        return listed, time.perf_counter() - started


class FirstSteps:
    """A loader's first batches of each epoch."""

    def __init__(self, loader: Any, steps: int):
        self._loader = loader
        self.steps = steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self._loader), self.steps)


def write_log(task: Task) -> None:
    """RecBole's own form of a log."""
    with np.load(task.data) as file:
        items, offsets = file["items"], file["offsets"]
    users = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    folder = task.folder / NAME
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{NAME}.inter").open("w") as out:
        out.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for time_, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
            out.write(f"{user}\t{item}\t{time_ - int(offsets[user])}\n")
