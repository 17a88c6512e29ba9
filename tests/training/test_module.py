"""What is random in a step. Its gradient is the business of test_gradients.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seqrec.errors import UnsupportedError
from seqrec.recipe import build_data, build_recipe_model, parse_recipe
from seqrec.stream import Position, SequenceDataModule, TrainingBatch
from seqrec.training import OptimizerSettings, SequenceRecommender

STEP = 1


class Ranks:
    """What `training_step` asks of a Trainer."""

    global_rank = 0

    def __init__(self, world_size: int, accumulate_grad_batches: int):
        self.world_size = world_size
        self.accumulate_grad_batches = accumulate_grad_batches


def make(values: dict[str, Any], store: Path, **data: Any) -> tuple[SequenceRecommender, SequenceDataModule]:
    recipe = parse_recipe(values | {"data": values["data"] | {"store": str(store)} | data}, where="test")
    stream = build_data(recipe)
    torch.manual_seed(0)
    model = build_recipe_model(recipe, stream.store, total_steps=10)
    counts = stream.split.train_counts
    return SequenceRecommender(model, OptimizerSettings(), seed=1, total_steps=10, train_counts=counts), stream


def step_of(data: SequenceDataModule, rank: int, world_size: int) -> list[TrainingBatch]:
    data.training.place(rank, world_size)
    return data.training.step(Position(0, STEP))


def test_dropout_follows_row_and_epoch(recipe_values: dict[str, Any], store_in_units: Path) -> None:
    module, data = make(recipe_values, store_in_units)
    batch, other = (data.training.step(Position(epoch, STEP))[0] for epoch in (0, 1))

    def loss(at: TrainingBatch) -> float:
        keys = at.keys[torch.arange(len(batch.rows)) % len(at.keys)]
        return module.model.training_loss(batch.inputs, batch.lengths, batch.targets, None, keys).item()

    first = loss(batch)
    torch.rand(7)
    assert loss(batch) == first
    assert loss(other) != first  # the next epoch drops others


def test_what_draws_from_torch_follows_the_step(recipe_values: dict[str, Any], store_in_units: Path) -> None:
    module, data = make(recipe_values, store_in_units)
    module.trainer = Ranks(1, 1)  # type: ignore[assignment]

    def draw(epoch: int) -> float:
        module.on_train_batch_start(data.training.step(Position(epoch, STEP))[0], 0)
        return torch.rand(1).item()

    first = draw(0)
    torch.rand(7)
    assert draw(0) == first
    assert draw(1) != first


def test_negatives_are_those_of_the_step_on_every_rank(recipe_values: dict[str, Any], store_in_units: Path) -> None:
    loss = {"kind": "sampled_softmax", "negatives": {"uniform": 8, "popularity": 8}}
    module, data = make(recipe_values | {"model": recipe_values["model"] | {"loss": loss}}, store_in_units)
    here, there, later = (
        step_of(data, 0, 2)[0],
        step_of(data, 1, 2)[0],
        data.training.step(Position(0, STEP + 1))[0],
    )
    drawn = [module._draw_negatives(batch) for batch in (here, there, later)]
    assert int(drawn[0].counts.sum()) == 16
    assert torch.equal(drawn[0].items, drawn[1].items)
    assert not torch.equal(drawn[0].items, drawn[2].items)


def test_a_datamodule_that_offers_too_few_targets(recipe_values: dict[str, Any], store_in_units: Path) -> None:
    loss = {"kind": "sampled_softmax", "negatives": {"in_batch": 8}}
    module, _ = make(recipe_values | {"model": recipe_values["model"] | {"loss": loss}}, store_in_units)
    _, other = make(recipe_values, store_in_units)
    with pytest.raises(UnsupportedError, match=r"(?s)takes 8 targets .* offer 0.*`in_batch=8`"):
        module._draw_negatives(other.training.step(Position(0, STEP))[0])
