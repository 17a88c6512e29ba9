from __future__ import annotations

import numpy as np
import pytest
import torch

from seqrec.event_columns import EventColumns
from seqrec.models import MASK, MaskedItem, MaskedItemSettings, ModelSettings, NextItem, build_model
from seqrec.models.events import gap_buckets

SECOND, DAY = 1_000_000, 86_400_000_000
START = 1_700_000_000 * SECOND


def test_gaps_by_hand() -> None:
    gaps = [0, 2 * SECOND - 1, 2 * SECOND, 4 * SECOND - 1, 4 * SECOND, DAY, 400 * DAY]
    times = START + torch.tensor([[0, *np.cumsum(gaps)]])
    # a day is between 2**16 and 2**17 seconds; ten buckets end with that of 512 s and more
    assert gap_buckets(times, 32).tolist() == [[0, 1, 1, 2, 2, 3, 17, 26]]
    assert gap_buckets(times, 10).tolist() == [[0, 1, 1, 2, 2, 3, 10, 10]]


def test_masked_events_take_the_time_before_them() -> None:
    events = EventColumns(torch.tensor([[5, 7, 9, 12], [3, 4, 0, 0]]), torch.tensor([[1, 2, 1, 2], [2, 1, 0, 0]]))
    items, lengths = torch.tensor([[10, 11, 12, 13], [14, 15, 0, 0]]), torch.tensor([4, 2])
    asked = MaskedItem(MaskedItemSettings(kind="masked_item")).query(items, lengths, events)
    assert asked.inputs.tolist() == [[10, 11, 12, 13, MASK], [14, 15, MASK, 0, 0]]
    assert asked.events.timestamps is not None
    assert asked.events.actions is not None
    assert asked.events.timestamps[0].tolist() == [5, 7, 9, 12, 12]
    assert asked.events.timestamps[1, :3].tolist() == [3, 4, 4]
    assert asked.events.actions.tolist() == [[1, 2, 1, 2, 0], [2, 1, 0, 0, 0]]


def test_a_next_item_row_loses_its_last_event_in_every_column() -> None:
    events = EventColumns(torch.tensor([[5, 7, 9], [3, 4, 0]]), values=torch.tensor([[1.5, 2, 3], [4, 5, 0]]))
    pairs = NextItem().pairs(torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([3, 2]), np.zeros(2, np.uint64), events)
    assert pairs.events.timestamps is not None
    assert pairs.events.values is not None
    assert pairs.events.timestamps.tolist() == [[5, 7], [3, 0]]
    assert pairs.events.values.tolist() == [[1.5, 2], [4, 0]]
    assert pairs.events.actions is None


@pytest.mark.parametrize(("column", "field"), [("timestamps", "time_gaps"), ("actions", "action_types")])
def test_what_is_asked_for_matters_and_must_be_there(column: str, field: str) -> None:
    events = {"time_gaps": 16} if field == "time_gaps" else {"action_types": True}
    settings = ModelSettings.model_validate(
        {
            "events": events,
            "items": {"width": 8, "init_std": 1.0},
            "backbone": {"kind": "gpt2", "width": 8, "layers": 1},
        }
    )
    assert settings.columns == {column: f"model.events.{field}"}
    model = build_model(settings, n_items=9, max_length=5, total_steps=1, actions=["buy", "view"]).eval()
    items, lengths = torch.tensor([[1, 2, 3]]), torch.tensor([3])
    times, actions = [START, START + DAY, START + DAY], [1, 2, 2]
    known = EventColumns(torch.tensor([times]), torch.tensor([actions]))
    changed = EventColumns(torch.tensor([[*times[:2], START + 9 * DAY]]), torch.tensor([[1, 2, 1]]))
    with torch.no_grad():
        one, other = (model(items, lengths, events) for events in (known, changed))
    assert torch.equal(one[0, :2], other[0, :2])  # nothing before the changed event
    assert not torch.equal(one[0, 2], other[0, 2])
    with pytest.raises(ValueError, match=f"reads {column} of every event"):
        model(items, lengths)
