from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, groupby

import numpy as np
import pytest

from seqrec.store import SequenceStore
from seqrec.stream import Position, TrainingBatch, TrainingStream
from seqrec.stream.order_share import share

from .batches import same

Training = Callable[..., TrainingStream]


def epoch(stream: TrainingStream, number: int = 0, first_step: int = 0) -> Iterator[list[TrainingBatch]]:
    """Its steps, each a list of micro-batches."""
    batches = stream.batches(Position(number, first_step))
    return (list(step) for _, step in groupby(batches, key=lambda batch: batch.position))


def rows(batches: list[TrainingBatch]) -> list[int]:
    return [row for batch in batches for row in batch.rows.tolist()]


@pytest.mark.parametrize("partitions", [1, 2, 3, 4])
@pytest.mark.parametrize("step_tokens", [16, 256])
def test_every_world_size_takes_the_same_steps(training: Training, partitions: int, step_tokens: int) -> None:
    """At 16 tokens a step there are fewer rows than ranks, so that fillers occur."""
    ranks = [training(partitions=partitions, step_tokens=step_tokens) for _ in range(4)]
    assert ranks[0].n_partitions == partitions
    reference = [sorted(rows(batches)) for batches in epoch(ranks[0])]
    trainable = np.flatnonzero([length - 2 >= 2 for length in store_lengths(ranks[0])])
    assert sorted(row for step_rows in reference for row in step_rows) == trainable.tolist()
    fillers = 0
    for world_size in range(1, 5):
        for rank in range(world_size):
            ranks[rank].place(rank, world_size)
        assert len({len(stream) for stream in ranks[:world_size]}) == 1
        assert len({stream.micro_batches for stream in ranks[:world_size]}) == 1
        for expected, *taken in zip(reference, *map(epoch, ranks[:world_size]), strict=True):
            assert sorted(row for batches in taken for row in rows(batches)) == expected
            for rank, batches in enumerate(taken):
                empty = sum(not len(batch.rows) for batch in batches)
                spare = len(batches) - len(share(partitions, world_size, rank))
                slots_are_full = len(expected) >= partitions * 12 * 2  # 12: the most stripes of a slot here
                assert empty >= spare
                assert empty == spare or not slots_are_full
                fillers += empty - spare
                check_sums(batches)
    assert fillers > 0 or step_tokens > 16


def store_lengths(stream: TrainingStream) -> np.ndarray:
    return np.concatenate([sequences.lengths for sequences in stream._store.scan()])


def check_sums(batches: list[TrainingBatch]) -> None:
    targets = sum(int((batch.targets != 0).sum()) for batch in batches)
    tokens = sum(int(batch.lengths.sum()) for batch in batches if len(batch.rows))
    for batch in batches:
        assert (batch.step_targets, batch.step_tokens) == (targets, tokens)
        assert batch.inputs.shape == batch.targets.shape
        assert len(batch.lengths) == len(batch.inputs) >= 1  # even a filler is something that a model can take
        if not len(batch.rows):
            assert not batch.targets.any()


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_position_moves_with_the_last_micro_batch_of_a_step(training: Training, world_size: int) -> None:
    stream = training(partitions=3)
    stream.place(0, world_size)
    last = stream.n_steps - 1
    for number, after in ((0, Position(2, 1)), (last, Position(3, 0))):
        batches = stream.step(Position(2, number))
        assert [batch.position for batch in batches] == [Position(2, number)] * len(batches)
        assert [batch.micro_batch for batch in batches] == list(range(len(batches)))
        assert [batch.after for batch in batches] == [Position(2, number)] * (len(batches) - 1) + [after]


@pytest.mark.parametrize("head", ["next_item", "masked_item"])
def test_a_jump_to_any_step_meets_what_iterating_meets(training: Training, head: str) -> None:
    settings = {"head": head, "partitions": 2, "window_tokens": 200}  # several windows a partition
    iterated = list(epoch(training(**settings), 1))
    assert len(iterated) > 4
    jumping = training(**settings)
    for number in (3, 0, len(iterated) - 1, 1):
        for one, other in zip(jumping.step(Position(1, number)), iterated[number], strict=True):
            assert same(one, other)
    for one, other in zip(chain(*epoch(jumping, 1, 2)), chain(*iterated[2:]), strict=True):
        assert same(one, other)
    assert not all(same(a, b) for a, b in zip(jumping.step(Position(0, 3)), iterated[3], strict=True))


def test_every_epoch_has_all_rows_in_another_order(training: Training) -> None:
    stream = training()
    first, second = (list(epoch(stream, number)) for number in (0, 1))
    assert Counter(chain.from_iterable(map(rows, first))) == Counter(chain.from_iterable(map(rows, second)))
    assert list(map(rows, first)) != list(map(rows, second))
    assert sum(len(rows(batches)) for batches in first) == stream.n_rows
    assert sum(batches[0].step_tokens for batches in first) == stream.n_tokens


def test_an_input_is_the_latest_events_that_fit(training: Training) -> None:
    stream = training(max_length=5, split={"kind": "leave_one_out"})
    store: SequenceStore = stream._store
    items = [row for s in store.scan() for row in np.split(s.items, s.offsets[1:-1])]
    longest = 0
    for batches in epoch(stream):
        for batch in batches:
            for i, row in enumerate(batch.rows.tolist()):
                latest = items[row][:-2][-6:].tolist()
                length = int(batch.lengths[i])
                longest = max(longest, length)
                assert batch.inputs[i, :length].tolist() == latest[:-1]
                assert batch.targets[i, :length].tolist() == latest[1:]
                assert not batch.inputs[i, length:].any()
                assert not batch.targets[i, length:].any()
    assert longest == 5


def test_masks_belong_to_the_row_and_epoch_and_not_to_the_rank(training: Training) -> None:
    def masks(number: int, rank: int, world_size: int) -> dict[int, list[int]]:
        stream = training(head="masked_item")
        stream.place(rank, world_size)
        batches = [batch for batches in epoch(stream, number) for batch in batches]
        return {
            row: batch.targets[i, : batch.lengths[i]].tolist()
            for batch in batches for i, row in enumerate(batch.rows.tolist())
        }  # fmt: skip

    whole = masks(0, 0, 1)
    assert masks(0, 0, 2) | masks(0, 1, 2) == whole
    assert masks(1, 0, 1) != whole


def test_the_fingerprint_names_everything_that_decides_the_order(training: Training) -> None:
    changes = [
        {},
        {"seed": 2},
        {"max_length": 19},
        {"step_tokens": 255},
        {"partitions": 2},
        {"window_tokens": 1_000},
        {"head": "masked_item"},
        {"long_histories": {"kind": "chunks"}},
        {"long_histories": {"kind": "sliding", "stride": 20}},  # the order of chunks, by another name
        {"long_histories": {"kind": "sliding", "stride": 10}},
        {"split": {"kind": "leave_one_out", "validation_users": 8}},
        {"split": {"kind": "leave_one_out", "validation_users": 8, "seed": 1}},
        {"split": {"kind": "temporal"}},
        {"split": {"kind": "temporal", "validation_from": 0.7}},
    ]
    fingerprints = [training(**change).fingerprint for change in changes]
    assert len(set(fingerprints)) == len(changes)
    assert training(evaluation_tokens=99, prefetch_threads=0).fingerprint == fingerprints[0]
    placed = training()
    placed.place(1, 3)
    assert placed.fingerprint == fingerprints[0]


def test_more_partitions_than_units_leave_none_empty(training: Training) -> None:
    stream = training(partitions=64)
    assert stream.n_partitions == 8  # units of 16 of the 120 users
    assert sum(len(rows(batches)) for batches in epoch(stream)) == stream.n_rows
