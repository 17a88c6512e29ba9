from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

from seqrec.stream import Position, TrainingBatch, TrainingStream, chosen
from seqrec.stream.in_batch import offered

Training = Callable[..., TrainingStream]


def step(stream: TrainingStream, number: int, rank: int = 0, world_size: int = 1) -> list[TrainingBatch]:
    stream.place(rank, world_size)
    return stream.step(Position(0, number))


def targets(batches: list[TrainingBatch]) -> list[int]:
    return [item for batch in batches for item in batch.targets[batch.targets > 0].tolist()]


@pytest.mark.parametrize("head", ["next_item", "masked_item"])
@pytest.mark.parametrize("step_tokens", [16, 256])  # at 16 some ranks have no row, and steps fewer targets than asked
@pytest.mark.parametrize("partitions", [1, 3])
def test_every_world_size_chooses_the_same_targets(
    training: Training, partitions: int, step_tokens: int, head: str
) -> None:
    stream = training(partitions=partitions, step_tokens=step_tokens, head=head)
    n = 20
    for number in range(4):
        whole = step(stream, number)
        alone = chosen(offered(whole, n, seed=1), n)
        assert len(alone) == min(n, len(targets(whole)))
        assert not set(alone) - set(targets(whole))
        for world_size in (2, 3, 5):
            offers = [offered(step(stream, number, rank, world_size), n, seed=1) for rank in range(world_size)]
            assert {tuple(offer.shape) for offer in offers} == {(n, 2)}
            assert np.array_equal(chosen(torch.cat(offers), n), alone)
            assert np.array_equal(chosen(torch.cat(offers[::-1]), n), alone)


def test_draws_differ_by_seed_and_epoch(training: Training) -> None:
    stream = training()
    batches = step(stream, 1)
    first = chosen(offered(batches, 30, seed=1), 30)
    assert not np.array_equal(first, chosen(offered(batches, 30, seed=2), 30))
    for batch in batches:
        batch.position = batch.position._replace(epoch=1)
    assert not np.array_equal(first, chosen(offered(batches, 30, seed=1), 30))


def test_every_target_is_as_likely(training: Training) -> None:
    """Without replacement, so that counts spread a little less than chi-square supposes."""
    batches = step(training(step_tokens=2000), 0)
    occurrences = np.bincount(targets(batches))
    drawn = np.bincount(
        np.concatenate([chosen(offered(batches, 20, seed=seed), 20) for seed in range(1000)]),
        minlength=len(occurrences),
    )
    assert drawn.sum() == 20_000
    there = occurrences > 0
    expected = occurrences[there] / occurrences.sum() * drawn.sum()
    assert stats.chisquare(drawn[there], expected).pvalue > 1e-3


def test_a_stream_offers_what_it_was_asked_for(training: Training) -> None:
    batches = step(training(partitions=3), 0)
    assert [len(batch.in_batch) for batch in batches] == [0, 0, 0]
    batches = step(training(partitions=3, in_batch=7), 0)
    assert all(torch.equal(batch.in_batch, offered(batches, 7, seed=1)) for batch in batches)
