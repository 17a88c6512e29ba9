"""Negatives of a step. That ranks agree on in-batch ones is the business of test_row_gradients.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from seqrec.errors import UnsupportedError
from seqrec.models import NegativeSampler, NegativesSettings
from seqrec.recipe import build_data, parse_recipe
from seqrec.stream import Position, SequenceDataModule
from seqrec.training.negatives import draw_negatives


@pytest.fixture
def data(recipe_values: dict[str, Any]) -> SequenceDataModule:
    loss = {"kind": "sampled_softmax", "negatives": {"in_batch": 8}}
    return build_data(parse_recipe(recipe_values | {"model": recipe_values["model"] | {"loss": loss}}, where="test"))


def sampler(data: SequenceDataModule, **draws: int) -> NegativeSampler:
    counts = data.split.train_counts
    return NegativeSampler(NegativesSettings(**draws), len(counts) - 1, seed=1, train_counts=counts)


def test_negatives_are_those_of_the_step_on_every_rank(data: SequenceDataModule) -> None:
    drawn = []
    for rank, step in ((0, 1), (1, 1), (0, 2)):
        data.training.place(rank, 2)
        batch = data.training.step(Position(0, step))[0]
        drawn.append(draw_negatives(sampler(data, uniform=8, popularity=8), batch))
    assert int(drawn[0].counts.sum()) == 16
    assert torch.equal(drawn[0].items, drawn[1].items)
    assert not torch.equal(drawn[0].items, drawn[2].items)


def test_targets_of_the_step_are_among_them(data: SequenceDataModule) -> None:
    batch = data.training.step(Position(0, 1))[0]
    drawn = draw_negatives(sampler(data, in_batch=8), batch)
    assert int(drawn.counts.sum()) == 8
    assert np.isin(drawn.items, batch.targets[batch.targets > 0]).all()


def test_a_datamodule_that_offers_too_few_targets(data: SequenceDataModule) -> None:
    batch = data.training.step(Position(0, 1))[0]
    with pytest.raises(UnsupportedError, match=r"(?s)takes 9 targets .* offer 8.*`in_batch=9`"):
        draw_negatives(sampler(data, in_batch=9), batch)
