"""The gradient of a step, whatever its ranks and micro-batches, and what is random in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import seqrec.training.module
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
    return SequenceRecommender(model, OptimizerSettings(), seed=1, total_steps=10), stream


def step_of(data: SequenceDataModule, rank: int, world_size: int) -> list[TrainingBatch]:
    data.training.place(rank, world_size)
    return data.training.step(Position(0, STEP))


def gradient(module: SequenceRecommender) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    return found


@pytest.mark.parametrize("loss", [{"kind": "full_softmax"}, {"kind": "sampled_softmax", "negatives": 8}])
@pytest.mark.parametrize("step_tokens", [16, 256])
@pytest.mark.parametrize(("partitions", "world_size"), [(1, 2), (1, 4), (2, 1), (2, 3), (3, 2)])
def test_ranks_together_make_the_gradient_of_the_global_batch(
    recipe_values: dict[str, Any],
    store_in_units: Path,
    monkeypatch: pytest.MonkeyPatch,
    loss: dict[str, Any],
    step_tokens: int,
    partitions: int,
    world_size: int,
) -> None:
    """DDP averages over ranks and Lightning over micro-batches; at 16 tokens a step some ranks have no row at all."""
    backbone = recipe_values["model"]["backbone"] | {"dropout": 0.0}
    values = recipe_values | {"model": recipe_values["model"] | {"backbone": backbone, "loss": loss}}
    module, data = make(values, store_in_units, partitions=partitions, step_tokens=step_tokens)
    module.double()

    slots = step_of(data, 0, 1)
    negatives = module._negatives(slots[0])
    summed = [module.model.training_loss(b.inputs, b.lengths, b.targets, negatives) for b in slots]
    (torch.stack(summed).sum() / slots[0].step_targets).backward()
    expected = gradient(module)

    taken = [step_of(data, rank, world_size) for rank in range(world_size)]
    totals = torch.tensor([[batches[0].step_targets, batches[0].step_tokens] for batches in taken]).sum(0).double()
    monkeypatch.setattr(seqrec.training.module, "sum_over_ranks", lambda counts: totals)
    micro_batches = len(taken[0])
    module.trainer = Ranks(world_size, micro_batches)  # type: ignore[assignment]
    for batches in taken:
        for number, batch in enumerate(batches):
            (module.training_step(batch, number)["loss"] / (world_size * micro_batches)).backward()  # type: ignore[index]
    found = gradient(module)
    assert found.keys() == expected.keys()
    assert max(float(grad.abs().max()) for grad in expected.values()) > 1e-3
    for name, grad in expected.items():
        torch.testing.assert_close(found[name], grad, rtol=1e-9, atol=1e-12, msg=name)


def test_dropout_follows_the_step_and_not_what_ran_before(recipe_values: dict[str, Any], store_in_units: Path) -> None:
    module, data = make(recipe_values, store_in_units)
    module.trainer = Ranks(1, 1)  # type: ignore[assignment]
    batch, other = (data.training.step(Position(epoch, STEP))[0] for epoch in (0, 1))

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
        data.training.step(Position(0, STEP + 1))[0],
    )
    drawn = [module._negatives(batch) for batch in (here, there, later)]
    assert drawn[0] is not None
    assert drawn[0].shape == (8,)
    assert torch.equal(drawn[0], drawn[1])  # type: ignore[arg-type]
    assert not torch.equal(drawn[0], drawn[2])  # type: ignore[arg-type]
