"""Which events are judged, and after what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqrec.errors import UnsupportedError
from seqrec.outcomes import OutcomeSettings
from seqrec.recipe import build_data, parse_recipe
from seqrec.store import SequenceStore
from seqrec.store.outcomes import Labeller
from seqrec.stream import Position, SequenceDataModule

HOURS = 30
HEAD = {
    "kind": "outcome",
    "of_actions": ["browse"],
    "outcomes": {"taken": {"kind": "action", "actions": ["cart", "purchase"], "within_hours": HOURS}},
}
SPLIT = {"kind": "temporal", "validation_from": 0.5, "test_from": 0.7, "seen": "allow"}


@pytest.fixture
def data(recipe_values: dict[str, Any], store_in_units: Path) -> SequenceDataModule:
    changed = recipe_values["data"] | {"store": str(store_in_units), "split": SPLIT, "max_length": 6}
    model = recipe_values["model"] | {"head": HEAD, "events": {"action_types": True}}
    values = recipe_values | {"data": changed, "model": model, "selection": {"metric": "auc"}}
    return build_data(parse_recipe(values, where="test"))


def expected(data: SequenceDataModule, after: int, until: int) -> dict[tuple[int, int], tuple[int, int]]:
    """By store row and position of each labelled event: its item and label."""
    store = SequenceStore(data.settings.store)
    labeller = Labeller(OutcomeSettings.model_validate(HEAD), store.manifest)
    found = {}
    for sequences in store.scan(labeller.columns):
        labels = labeller(sequences, until)
        assert sequences.timestamps is not None
        for user, row in enumerate(sequences.rows.tolist()):
            for at in range(sequences.offsets[user] + 1, sequences.offsets[user + 1]):
                if labels[at] and after < sequences.timestamps[at] <= until:
                    found[row, int(at - sequences.offsets[user])] = (int(sequences.items[at]), int(labels[at]))
    return found


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("ranks", [1, 3])
def test_each_labelled_event_of_a_part_comes_once_after_what_lies_before_it(
    data: SequenceDataModule, part: Any, ranks: int
) -> None:
    percentiles = data.store.manifest.time_percentiles
    assert percentiles is not None
    spans = {"validation": (percentiles[50], percentiles[70]), "test": (percentiles[70], percentiles[-1])}
    wanted = expected(data, *spans[part])
    store = SequenceStore(data.settings.store)
    events = {
        row: items
        for sequences in store.scan()
        for row, items in zip(sequences.rows.tolist(), np.split(sequences.items, sequences.offsets[1:-1]), strict=True)
    }
    seen = []
    for rank in range(ranks):
        for batch in data.outcomes(part).loader(rank, ranks):
            assert batch.events.actions is not None
            assert batch.items.shape == batch.labels.shape == batch.events.actions.shape
            rows = zip(batch.rows, batch.items, batch.lengths, batch.labels, strict=True)
            for user, items, length, labels in rows:
                whole, own = events[int(user)].tolist(), items[: int(length)].tolist()
                for at in np.flatnonzero(labels).tolist():
                    history = own[:at]
                    assert len(history) >= 1
                    places = [p for p in range(len(whole)) if whole[p] == own[at] and whole[:p][-at:] == history]
                    keys = [(int(user), p) for p in places if (int(user), p) in wanted and (at >= 3 or p == at)]
                    assert keys
                    seen.append((int(user), own[at], int(labels[at]), len(whole)))
    assert sorted(s[:3] for s in seen) == sorted((row, item, label) for (row, _), (item, label) in wanted.items())
    assert len(seen) > 20


def test_training_labels_tell_nothing_of_what_comes_after_the_cut(data: SequenceDataModule) -> None:
    cut = data.store.manifest.time_percentiles[50]  # type: ignore[index]
    wanted = expected(data, -1, cut)
    training = data.training
    batches = [b for step in range(training.n_steps) for b in training.step(Position(0, step))]
    known = [
        (int(row), int(item), int(label))
        for batch in batches
        for row, items, labels in zip(batch.rows, batch.inputs, batch.targets, strict=False)
        for item, label in zip(items, labels, strict=True)
        if label
    ]
    assert set(known) <= {(row, item, label) for (row, _), (item, label) in wanted.items()}
    assert len(known) > 20
    assert all(batch.events.labels is None for batch in batches)
    assert sum(batch.step_targets for batch in batches if batch.micro_batch == 0) == len(known)


def test_another_split_is_refused(recipe_values: dict[str, Any]) -> None:
    values = recipe_values | {
        "model": recipe_values["model"] | {"head": HEAD},
        "selection": {"metric": "auc"},
    }
    with pytest.raises(UnsupportedError, match=r"(?s)data\.split\.kind: leave_one_out.*`temporal`"):
        build_data(parse_recipe(values, where="test")).training  # noqa: B018
