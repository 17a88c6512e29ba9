from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from seqrec.stream import EvaluationBatch, EvaluationStream

Evaluation = Callable[..., EvaluationStream]


def rows_of(stream: EvaluationStream, rank: int, world_size: int) -> list[tuple[int, ...]]:
    return [tuple(batch.rows.tolist()) for batch in stream.loader(rank, world_size)]


def sequences_of(stream: EvaluationStream) -> list[list[int]]:
    return [row.tolist() for s in stream._store.scan() for row in np.split(s.items, s.offsets[1:-1])]


def test_batches_are_the_same_at_any_number_of_ranks(evaluation: Evaluation) -> None:
    alone = rows_of(evaluation(), 0, 1)
    assert len(alone) > 4
    users = sorted(user for batch in alone for user in batch)
    assert users == sorted(set(users))
    assert len(users) == evaluation().counts.users
    for world_size in (2, 3, 4):
        ranks = [rows_of(evaluation(), rank, world_size) for rank in range(world_size)]
        assert sorted(batch for batches in ranks for batch in batches if batch) == sorted(alone)
        assert {len(batches) for batches in ranks} == {-(-len(alone) // world_size)}  # where all of them meet


def test_a_rank_without_batches_gets_an_empty_one(evaluation: Evaluation) -> None:
    stream = evaluation(evaluation_tokens=1_000_000, window_tokens=1_000_000)
    assert len(stream) == 1
    batches = [list(stream.loader(rank, 3)) for rank in range(3)]
    assert sorted(len(batch.rows) for (batch,) in batches) == [0, 0, stream.counts.users]
    empty = stream[-1]
    assert len(empty.items) == len(empty.lengths) == len(empty.targets) == 0
    assert empty.seen_items is None


@pytest.mark.parametrize(("part", "back"), [("validation", 2), ("test", 1)])
def test_histories_targets_and_whole_seen_lists(evaluation: Evaluation, part: str, back: int) -> None:
    stream = evaluation(part=part, max_history=3)
    sequences = sequences_of(stream)
    cropped = 0
    for batch in stream.loader(0, 1):
        assert batch.seen_offsets is not None
        assert batch.seen_items is not None
        for i, row in enumerate(batch.rows.tolist()):
            history, target = sequences[row][:-back], sequences[row][-back]
            length = int(batch.lengths[i])
            assert batch.items[i, :length].tolist() == history[-3:]
            assert not batch.items[i, length:].any()
            assert batch.targets[i] == target
            assert batch.seen_items[batch.seen_offsets[i] : batch.seen_offsets[i + 1]].tolist() == history
            cropped += len(history) > 3
    assert cropped > 0


def test_nothing_is_filtered_where_repeats_are_allowed(evaluation: Evaluation) -> None:
    batches: list[EvaluationBatch] = list(evaluation(split={"kind": "leave_one_out", "seen": "allow"}).loader(0, 1))
    assert {batch.seen_items for batch in batches} == {None}


def test_counts_say_who_is_left_out_and_what_is_cold(evaluation: Evaluation) -> None:
    stream = evaluation(split={"kind": "temporal", "validation_from": 0.2, "test_from": 0.9})
    counts = stream.counts
    evaluated = list(stream.loader(0, 1))
    assert counts.users == sum(len(batch.rows) for batch in evaluated) > 0
    assert counts.users + sum(counts.left_out.values()) == 120
    assert counts.left_out["no target"] > 0
    trained = stream._split.train_counts
    assert counts.cold_targets == sum(int((trained[batch.targets] == 0).sum()) for batch in evaluated)


def test_cold_targets_may_be_left_out(evaluation: Evaluation) -> None:
    early = {"kind": "temporal", "validation_from": 0.01, "test_from": 0.5}
    kept, dropped = evaluation(split=early), evaluation(split=early | {"drop_cold_targets": True})
    assert kept.counts.cold_targets == dropped.counts.left_out["cold target"] > 0
    assert dropped.counts.cold_targets == 0
    assert dropped.counts.users == kept.counts.users - kept.counts.cold_targets


def test_without_a_part_whole_sequences_are_the_histories(evaluation: Evaluation) -> None:
    stream = evaluation(part=None, max_history=3)
    sequences = sequences_of(stream)
    assert (stream.counts.users, stream.counts.left_out, stream.counts.cold_targets) == (len(sequences), {}, 0)
    for batch in stream.loader(0, 1):
        assert batch.targets is None
        assert batch.seen_offsets is not None
        assert batch.seen_items is not None
        for i, row in enumerate(batch.rows.tolist()):
            assert batch.items[i, : int(batch.lengths[i])].tolist() == sequences[row][-3:]
            assert batch.seen_items[batch.seen_offsets[i] : batch.seen_offsets[i + 1]].tolist() == sequences[row]
