"""What is random in a step, and which steps are refused. Its gradient is the business of test_gradients.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seqrec.errors import UnsupportedError
from seqrec.models import MicroBatch
from seqrec.recipe import build, build_data, build_recipe_model, parse_recipe
from seqrec.stream import Position, SequenceDataModule, TrainingBatch
from seqrec.training import OptimizerSettings, SequenceRecommender

STEP = 1


class FirstRank:
    """What a module asks of a Trainer at the start of a batch."""

    global_rank = 0


def make(values: dict[str, Any], store: Path) -> tuple[SequenceRecommender, SequenceDataModule]:
    recipe = parse_recipe(values | {"data": values["data"] | {"store": str(store)}}, where="test")
    data = build_data(recipe)
    torch.manual_seed(0)
    model = build_recipe_model(recipe, data.store, total_steps=10)
    return SequenceRecommender(model, OptimizerSettings(), seed=1, total_steps=10), data


def test_dropout_follows_row_and_epoch(recipe_values: dict[str, Any], store_in_units: Path) -> None:
    module, data = make(recipe_values, store_in_units)
    batch, other = (data.training.step(Position(epoch, STEP))[0] for epoch in (0, 1))

    def loss(at: TrainingBatch) -> float:
        keys = at.keys[torch.arange(len(batch.rows)) % len(at.keys)]
        return module.model.training_loss(
            MicroBatch(batch.inputs, batch.lengths, batch.targets, batch.events, keys)
        ).item()

    first = loss(batch)
    torch.rand(7)
    assert loss(batch) == first
    assert loss(other) != first  # the next epoch drops others


def test_what_draws_from_torch_follows_the_step(recipe_values: dict[str, Any], store_in_units: Path) -> None:
    module, data = make(recipe_values, store_in_units)
    module.trainer = FirstRank()  # type: ignore[assignment]

    def draw(epoch: int) -> float:
        module.on_train_batch_start(data.training.step(Position(epoch, STEP))[0], 0)
        return torch.rand(1).item()

    first = draw(0)
    torch.rand(7)
    assert draw(0) == first
    assert draw(1) != first


def test_sequences_that_come_in_parts_are_not_told_apart(
    recipe_values: dict[str, Any], store_in_units: Path, tmp_path: Path
) -> None:
    changed = {
        "data": recipe_values["data"] | {"store": str(store_in_units), "partitions": 2},
        "model": recipe_values["model"] | {"auxiliary": {"contrastive": {}}},
        "loggers": [],
    }
    trainer, module, data = build(parse_recipe(recipe_values | changed, where="test"), tmp_path)
    with pytest.raises(UnsupportedError, match=r"auxiliary\.contrastive: each rank takes a step in 2 micro-batches"):
        trainer.fit(module, data)
