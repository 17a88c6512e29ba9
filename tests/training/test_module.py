"""What is random in a step. Its gradient is the business of test_gradients.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from seqrec.recipe import build_data, build_recipe_model, parse_recipe
from seqrec.stream import SequenceDataModule, TrainingBatch
from seqrec.stream.training_stream import MicroBatch
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
    return SequenceRecommender(model, OptimizerSettings(), seed=1, total_steps=10), stream


def step_of(data: SequenceDataModule, rank: int, world_size: int) -> list[TrainingBatch]:
    data.training.place(rank, world_size)
    return [data.training[MicroBatch(0, STEP, i)] for i in range(data.training.micro_batches)]


def test_dropout_follows_the_step_and_not_what_ran_before(recipe_values: dict[str, Any], store_in_units: Path) -> None:
    module, data = make(recipe_values, store_in_units)
    module.trainer = Ranks(1, 1)  # type: ignore[assignment]
    batch, other = data.training[MicroBatch(0, STEP, 0)], data.training[MicroBatch(1, STEP, 0)]

    def loss(at: TrainingBatch) -> float:
        module.on_train_batch_start(at, 0)
        return module.model.training_loss(batch.inputs, batch.lengths, batch.targets, None).item()

    first = loss(batch)
    torch.rand(7)
    assert loss(batch) == first
    assert loss(other) != first  # the next epoch drops others


def test_negatives_are_those_of_the_step_on_every_rank(recipe_values: dict[str, Any], store_in_units: Path) -> None:
    model = recipe_values["model"] | {"loss": {"kind": "sampled_softmax", "negatives": 8}}
    module, data = make(recipe_values | {"model": model}, store_in_units)
    here, there, later = (
        step_of(data, 0, 2)[0],
        step_of(data, 1, 2)[0],
        data.training[MicroBatch(0, STEP + 1, 0)],
    )
    drawn = [module._negatives(batch) for batch in (here, there, later)]
    assert drawn[0] is not None
    assert drawn[0].shape == (8,)
    assert torch.equal(drawn[0], drawn[1])  # type: ignore[arg-type]
    assert not torch.equal(drawn[0], drawn[2])  # type: ignore[arg-type]
