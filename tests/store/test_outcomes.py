"""Labels against a loop over events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrec.errors import RecipeError, UnsupportedError
from seqrec.outcomes import OutcomeSettings
from seqrec.store import SequenceStore
from seqrec.store.manifest import Manifest
from seqrec.store.outcomes import Labeller
from seqrec.store.sequences import Sequences

HOUR = 3_600_000_000
SETTINGS = OutcomeSettings.model_validate(
    {
        "kind": "outcome",
        "of_actions": ["view"],
        "outcomes": {
            "taken": {"kind": "action", "actions": ["cart", "purchase"], "within_hours": 5},
            "dear": {"kind": "value", "least": 3},
            "bought": {"kind": "action", "actions": ["purchase"], "within_hours": 2},
        },
    }
)
EVENTS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(0, 2), st.sampled_from([1.0, 3.0, np.nan]))
)
MANIFEST = Manifest.model_construct(has_time=True, has_values=True, actions=["view", "cart", "purchase"])


def make(users: list[list[tuple[int, int, int, float]]]) -> Sequences:
    """Events (item, hours since the one before, action, value) as columns."""
    flat = [event for events in users for event in events]
    times = [np.cumsum([hours for _, hours, _, _ in events]) for events in users]
    return Sequences(
        rows=np.arange(len(users)),
        offsets=np.cumsum([0, *map(len, users)]),
        items=np.array([event[0] for event in flat], np.int32),
        timestamps=(np.concatenate([*times, []]) * HOUR).astype(np.int64),
        actions=np.array([event[2] for event in flat], np.int8),
        values=np.array([event[3] for event in flat], np.float32),
    )


def by_loop(sequences: Sequences, until: int) -> list[int]:
    assert sequences.timestamps is not None
    assert sequences.actions is not None
    assert sequences.values is not None
    hours, found = sequences.timestamps // HOUR, []
    for begin, end in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True):
        for at in range(begin, end):
            label = 0
            if sequences.actions[at] == 0 and hours[at] <= until:
                for bit, actions, within in ((1, (1, 2), 5), (16, (2,), 2)):
                    later = [
                        other
                        for other in range(at + 1, end)
                        if sequences.items[other] == sequences.items[at]
                        and sequences.actions[other] in actions
                        and hours[other] <= min(hours[at] + within, until)
                    ]
                    label |= 3 * bit if later else bit if hours[at] + within <= until else 0
                if not np.isnan(sequences.values[at]):
                    label |= 12 if sequences.values[at] >= 3 else 4
            found.append(label)
    return found


@given(users=st.lists(EVENTS, max_size=4), until=st.integers(0, 20))
def test_labels_are_those_of_a_loop(users: list[list[tuple[int, int, int, float]]], until: int) -> None:
    sequences = make(users)
    labels = Labeller(SETTINGS, MANIFEST)(sequences, until * HOUR)
    assert labels.dtype == np.int32
    assert labels.tolist() == by_loop(sequences, until)


def test_what_comes_after_the_cut_changes_no_label(shop_store: object) -> None:
    store = SequenceStore(str(shop_store))
    settings = OutcomeSettings.model_validate(
        {
            "kind": "outcome",
            "outcomes": {"taken": {"kind": "action", "actions": store.manifest.actions[1:], "within_hours": 48}},
        }
    )
    labeller = Labeller(settings, store.manifest)
    cut = store.manifest.time_percentiles[60]  # type: ignore[index]
    for sequences in store.scan(labeller.columns):
        assert sequences.timestamps is not None
        assert sequences.actions is not None
        before = labeller(sequences, cut)
        changed = replace(sequences, actions=np.where(sequences.timestamps > cut, 1, sequences.actions).astype(np.int8))
        assert np.array_equal(labeller(changed, cut), before)
        assert not before[sequences.timestamps > cut].any()
        assert before.any()


@pytest.mark.parametrize(
    ("outcome", "error", "message"),
    [
        (
            {"kind": "action", "actions": ["purchas"]},
            RecipeError,
            r"outcomes\.x\.actions: the store has no action 'purchas' .*'purchase'",
        ),
        ({"kind": "value", "least": 1}, UnsupportedError, r"outcomes\.x: the store has no values"),
    ],
)
def test_what_the_store_lacks_is_named(outcome: dict, error: type[Exception], message: str) -> None:
    settings = OutcomeSettings.model_validate({"kind": "outcome", "outcomes": {"x": outcome}})
    with pytest.raises(error, match=message):
        Labeller(settings, MANIFEST.model_copy(update={"has_values": False}))
