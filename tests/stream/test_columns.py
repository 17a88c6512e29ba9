"""What batches carry of events beside their items, against the store's own columns."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from seqrec.errors import UnsupportedError
from seqrec.event_columns import EventColumns
from seqrec.models import MASK
from seqrec.store import SequenceStore
from seqrec.stream import EvaluationStream, Position, TrainingStream
from seqrec.stream.columns import check_columns
from seqrec.stream.fixed_shapes import FixedShapes

from .stores import write_store

ALL = ("timestamps", "actions", "values")


def rows_of_store(path: Path) -> list[dict[str, np.ndarray]]:
    """For each user the columns as a batch should have them."""
    found = []
    for sequences in SequenceStore(path).scan(("items", *ALL)):
        assert sequences.timestamps is not None
        assert sequences.actions is not None
        assert sequences.values is not None
        for a, b in zip(sequences.offsets, sequences.offsets[1:], strict=False):
            actions = sequences.actions[a:b].astype(np.int64) + 1
            columns = {"items": sequences.items[a:b], "timestamps": sequences.timestamps[a:b], "actions": actions}
            found.append(columns | {"values": sequences.values[a:b]})
    return found


def check_rows(events: EventColumns, wanted: list[dict[str, np.ndarray]], lengths: torch.Tensor) -> None:
    """Each row of the batch, in all columns: what is wanted as far as its length, and 0 beyond it."""
    for name in ALL:
        for column, columns, length in zip(getattr(events, name), wanted, lengths.tolist(), strict=True):
            np.testing.assert_array_equal(column[:length].numpy(), columns[name][:length], name)
            assert not column[length:].any()


@pytest.mark.parametrize("long_histories", ["latest", "chunks"])
def test_inputs_have_their_events_columns_and_not_the_targets(
    training: Callable[..., TrainingStream], store_in_units: Path, long_histories: str
) -> None:
    """At any cut of a history, found by its items; a plain stream has the same batches without."""
    whole = rows_of_store(store_in_units)
    settings = {"max_length": 7, "long_histories": {"kind": long_histories}, "partitions": 2}
    stream, plain = training(columns=ALL, **settings), training(**settings)
    seen = 0
    for batch, other in zip(stream.batches(Position(0, 0)), plain.batches(Position(0, 0)), strict=True):
        assert torch.equal(batch.inputs, other.inputs)
        assert torch.equal(batch.targets, other.targets)
        assert other.events == EventColumns()
        times, values = batch.events.timestamps, batch.events.values
        assert times is not None
        assert values is not None
        assert (times.dtype, values.dtype) == (torch.int64, torch.float32)
        for row, length in enumerate(batch.lengths.tolist()):
            user = whole[int(batch.rows[row])]
            (start, *_) = [
                start
                for start in range(len(user["items"]) - length)  # an event is left behind the inputs, the target
                if user["items"][start : start + length].tolist() == batch.inputs[row, :length].tolist()
                and user["timestamps"][start : start + length].tolist() == times[row, :length].tolist()
            ]
            own = [{name: column[start:] for name, column in user.items()}]
            one = slice(row, row + 1)
            check_rows(EventColumns(*(c[one] for c in batch.events if c is not None)), own, batch.lengths[one])
            seen += 1
    assert seen == plain.n_rows


def test_nothing_is_known_of_a_masked_event(training: Callable[..., TrainingStream], store_in_units: Path) -> None:
    whole = rows_of_store(store_in_units)
    (batch,) = training(head="masked_item", columns=ALL).step(Position(0, 0))
    masked = batch.inputs == MASK
    assert masked.any()
    times, actions, values, *_ = batch.events
    assert times is not None
    assert actions is not None
    assert values is not None
    assert not actions[masked].any()
    assert not values[masked].any()
    assert (actions[~masked & (batch.inputs != 0)] > 0).all()
    for row, user in enumerate(batch.rows.tolist()):
        length = int(batch.lengths[row])
        known = times[row, :length][~masked[row, :length]].tolist()
        own = whole[user]["timestamps"].tolist()
        assert set(known) <= set(own)
        if known:  # and a masked one takes the time of a known one
            assert set(times[row, :length].tolist()) == set(known)


def test_fillers_and_fixed_shapes_have_the_columns_too(training: Callable[..., TrainingStream]) -> None:
    stream = training(step_tokens=16, columns=("timestamps", "actions"))
    stream.place(0, 8)
    fillers = [batch for batch in stream.batches(Position(0, 0)) if not len(batch.rows)]
    assert fillers
    assert fillers[0].events.actions is not None
    assert fillers[0].events.actions.tolist() == [[0]]
    assert fillers[0].events.values is None
    (batch,) = training(columns=ALL).step(Position(0, 0))
    shaped = FixedShapes([20], np.bincount([5, 20]), 1, part=Fraction(1)).training(batch)
    assert {column.shape for column in shaped.events if column is not None} == {shaped.inputs.shape}


@pytest.mark.parametrize("part", ["validation", "test", None])
def test_histories_have_their_columns_and_nothing_of_the_target(
    evaluation: Callable[..., EvaluationStream], store_in_units: Path, part: str | None
) -> None:
    whole = rows_of_store(store_in_units)
    stream = evaluation(part=part, max_history=6, columns=ALL)
    held_out = {"validation": 2, "test": 1, None: 0}[part]
    for batch in (stream[number] for number in range(len(stream))):
        latest = []
        for row, length in zip(batch.rows.tolist(), batch.lengths.tolist(), strict=True):
            end = len(whole[row]["items"]) - held_out
            latest.append({name: column[end - length : end] for name, column in whole[row].items()})
        check_rows(batch.events, latest, batch.lengths)


def test_a_store_without_them_is_refused_by_the_field_that_asks(tmp_path: Path) -> None:
    manifest = write_store(tmp_path / "store", [3, 4], per_unit=2).manifest
    with pytest.raises(UnsupportedError, match=r"(?s)model\.events\.time_gaps: .*no timestamps.*logs\.columns\.time"):
        check_columns({"timestamps": "model.events.time_gaps"}, manifest, where="store")
    check_columns({}, manifest, where="store")
