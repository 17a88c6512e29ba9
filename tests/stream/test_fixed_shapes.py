from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from seqrec.stream import DataSettings, EvaluationStream, Position, TrainingBatch, TrainingStream
from seqrec.stream.fixed_shapes import FixedShapes, Shape

BUCKETS = [4, 6, 9, 13, 20]


@pytest.mark.parametrize("buckets", [[], [20, 10], [10, 10, 20], [0, 20], [10], [10, 30]])
def test_buckets_ascend_to_the_longest_input(buckets: list[int]) -> None:
    with pytest.raises(ValidationError, match=r"ascending, of which the last is max_length, 20; got \["):
        DataSettings(store="none", max_length=20, length_buckets=buckets)


def test_the_shortest_rows_of_a_bucket_say_how_many_it_has() -> None:
    """32 rows of 2 and 16 of 4 in four batches: each costs 32, and 34 with what is allowed above that."""
    histogram = np.array([0, 0, 32, 0, 16])
    shapes = FixedShapes([1, 3, 8], histogram, 4)
    assert shapes(16, 2) == Shape(rows=17, length=3, targets=37)
    assert shapes(8, 4) == shapes(1, 8) == Shape(rows=8, length=8, targets=42)
    assert shapes(1, 1) == Shape(rows=1, length=1, targets=1)
    assert FixedShapes([8], histogram, 4, part=Fraction(1, 3))(1, 4) == Shape(rows=6, length=8, targets=20)


def test_a_batch_beyond_its_shape_takes_whole_multiples() -> None:
    shapes = FixedShapes([1, 3, 8], np.array([0, 0, 32, 0, 16]), 4)
    assert shapes(18, 2) == shapes(34, 3) == shapes(17, 3, 40) == Shape(rows=34, length=3, targets=74)
    assert shapes(2, 1).targets == 2


def shapes_of(batches: Iterable[TrainingBatch]) -> set[tuple[int, ...]]:
    found = set()
    for batch in batches:
        assert batch.places is not None
        found.add((*batch.inputs.shape, len(batch.places)))
        assert batch.targets.shape == batch.inputs.shape
        assert len(batch.lengths) == len(batch.keys) == len(batch.inputs)
        taken = batch.targets.flatten()[batch.places]
        assert sorted(taken[taken != 0].tolist()) == sorted(batch.targets[batch.targets != 0].tolist())
    return found


@pytest.mark.parametrize("head", ["next_item", "masked_item"])
@pytest.mark.parametrize("world_size", [1, 3])
def test_an_epoch_has_one_shape_a_bucket(training: Callable[..., TrainingStream], head: str, world_size: int) -> None:
    """At 64 events a step the shapes are many without buckets; three ranks take stripes, and some find no row."""
    fixed, free = (training(head=head, step_tokens=64, length_buckets=b) for b in (BUCKETS, None))
    assert fixed.fingerprint == free.fingerprint
    assert len(fixed) == len(free) > 10
    of_one_rank = []
    for rank in range(world_size):
        for stream in (fixed, free):
            stream.place(rank, world_size)
        for epoch in (0, 1):
            pairs = list(zip(*(stream.batches(Position(epoch, 0)) for stream in (fixed, free)), strict=True))
            for one, other in pairs:
                n = len(other.rows)
                assert one.rows.tolist() == other.rows.tolist()
                assert (one.step_targets, one.step_tokens) == (other.step_targets, other.step_tokens)
                assert torch.equal(one.inputs[:n, : other.inputs.shape[1]], other.inputs[:n])
                assert not one.targets[n:].any()
            of_one_rank.append(shapes_of(batch for batch, _ in pairs))
            assert len({tuple(batch.inputs.shape) for _, batch in pairs}) > len(BUCKETS)
    assert len(set.union(*of_one_rank)) <= len(BUCKETS)


@pytest.mark.parametrize("max_history", [20, 19])  # 19: a head adds a mask token
def test_evaluation_has_one_shape_a_bucket(evaluation: Callable[..., EvaluationStream], max_history: int) -> None:
    settings = {"max_history": max_history, "max_length": 20, "evaluation_tokens": 100}
    fixed, free = evaluation(length_buckets=BUCKETS, **settings), evaluation(**settings)
    shapes = set()
    for one, other in zip(fixed.loader(0, 1), free.loader(0, 1), strict=True):
        n, width = other.items.shape
        assert torch.equal(one.items[:n, :width], other.items)
        assert not one.items[n:].any()
        assert (one.lengths[n:] == 1).all()
        for name in ("rows", "targets", "seen_offsets", "seen_items"):
            assert torch.equal(getattr(one, name), getattr(other, name))
        shapes.add(tuple(one.items.shape))
    assert {length + 20 - max_history for _, length in shapes} <= set(BUCKETS)
    assert len(shapes) <= len(BUCKETS) < len(fixed)
