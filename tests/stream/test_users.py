"""What batches carry of users, against the store's own rows."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqrec.errors import RecipeError
from seqrec.event_columns import EventColumns
from seqrec.recipe import build_data, parse_recipe
from seqrec.store import SequenceStore
from seqrec.store.users import read_user_values
from seqrec.stream import Position, SequenceDataModule
from seqrec.stream.columns import users_of
from seqrec.users import UserSettings

USERS = {"categories": ["band"], "numbers": ["age"]}
OUTCOME = {"kind": "outcome", "outcomes": {"dear": {"kind": "value", "least": 30}}}
TEMPORAL = {"kind": "temporal", "validation_from": 0.5, "test_from": 0.7}


def data_of(values: dict[str, Any], store: Path, *, users: Any = USERS, **changes: Any) -> SequenceDataModule:
    section = values["data"] | {"store": str(store), "max_length": 6, "step_tokens": 128, "partitions": 3}
    outcome = {"head": OUTCOME} if "split" in changes else {}
    model = values["model"] | {"users": users} | outcome
    selection = {"selection": {"metric": "auc"}} if outcome else {}
    return build_data(parse_recipe(values | {"data": section | changes, "model": model} | selection, where="test"))


@pytest.fixture(scope="module")
def expected(shop_store: Path, store_in_units: Path) -> torch.Tensor:
    """int64 (users, 2), from the store as one unit."""
    (sequences,) = SequenceStore(shop_store).scan(("items", "band", "age"))
    found = users_of(sequences, read_user_values(UserSettings.model_validate(USERS), SequenceStore(store_in_units)))
    assert 0 in found[:, 0]
    return torch.from_numpy(found.astype(np.int64))


@pytest.mark.parametrize("changes", [{"long_histories": {"kind": "chunks"}}, {"length_buckets": [3, 6]}])
def test_sequences_have_their_users_on_any_ranks_and_after_a_resume(
    recipe_values: dict[str, Any], store_in_units: Path, expected: torch.Tensor, changes: dict[str, Any]
) -> None:
    stream = data_of(recipe_values, store_in_units, **changes).training
    plain = data_of(recipe_values, store_in_units, users=None, **changes).training
    assert stream.fingerprint == plain.fingerprint
    for world_size in (1, 3):
        rows = []
        for rank in range(world_size):
            for one in (stream, plain):
                one.place(rank, world_size)
            for batch, other in zip(stream.batches(Position(0, 0)), plain.batches(Position(0, 0)), strict=True):
                assert torch.equal(batch.inputs, other.inputs)
                assert other.events == EventColumns()
                check(batch.events, batch.rows, expected)
                rows.append(batch.rows.tolist())
        assert len(list(chain(*rows))) == stream.n_rows
    middle = Position(0, stream.n_steps // 2)
    whole = [batch for batch in stream.batches(Position(0, 0)) if batch.position >= middle]
    for batch, again in zip(whole, stream.batches(middle), strict=True):
        assert (batch.events.users is None) == (again.events.users is None)
        if batch.events.users is not None:
            assert torch.equal(batch.events.users, again.events.users)


def test_histories_and_judged_sequences_have_theirs(
    recipe_values: dict[str, Any], store_in_units: Path, expected: torch.Tensor
) -> None:
    data = data_of(recipe_values, store_in_units)
    judged = data_of(recipe_values, store_in_units, split=TEMPORAL)
    loaders = [data.evaluation("test").loader(0, 1), data.evaluation(None).loader(0, 1)]
    seen = 0
    for batch in chain(*loaders, judged.outcomes("test").loader(0, 1)):
        check(batch.events, batch.rows, expected)
        seen += len(batch.rows)
    assert seen > 200


def check(events: EventColumns, rows: torch.Tensor, expected: torch.Tensor) -> None:
    if not len(rows):  # a filler
        return
    assert events.users is not None
    assert torch.equal(events.users[: len(rows)], expected[rows])
    assert not events.users[len(rows) :].any()


def test_a_store_without_them_is_refused(recipe_values: dict[str, Any], store_in_units: Path) -> None:
    with pytest.raises(RecipeError, match=r"(?s)model.users: the store knows no `bands` of its users.*mean `band`"):
        data_of(recipe_values, store_in_units, users={"categories": ["bands"]})
