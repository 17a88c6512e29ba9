"""Copies of sequences: which events are where, and that a row decides about itself alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from seqrec.event_columns import EventColumns
from seqrec.models.auxiliary import AugmentedViewsSettings
from seqrec.models.auxiliary.views import augmented, with_masked_events
from seqrec.models.dropout import mix
from seqrec.models.items import MASK, PAD
from seqrec.models.micro_batch import MicroBatch

LENGTHS = torch.tensor([10, 7, 1, 4] * 60)
ITEMS = (torch.arange(len(LENGTHS)).unsqueeze(1) * 100 + torch.arange(1, 11)) * (
    torch.arange(10) < LENGTHS.unsqueeze(1)
)
KEYS = mix(torch.arange(len(LENGTHS)))
BATCH = MicroBatch(ITEMS, LENGTHS, ITEMS, EventColumns(timestamps=ITEMS * 10, actions=ITEMS * 2))


def views(**shares: Any) -> list[tuple[list[int], list[int], list[int], list[int]]]:
    """Of each sequence its items, and the copy's with its times and actions."""
    items, lengths, _, events, *_ = augmented(BATCH, KEYS, AugmentedViewsSettings(kind="augmented", **shares))
    assert events.timestamps is not None
    assert events.actions is not None
    beyond = torch.arange(10) >= lengths.unsqueeze(1)
    for column in (items, events.timestamps, events.actions):
        assert not column[beyond].any()
    rows = zip(ITEMS, LENGTHS.tolist(), items, events.timestamps, events.actions, lengths.tolist(), strict=True)
    return [
        (of[:n].tolist(), to[:m].tolist(), times[:m].tolist(), actions[:m].tolist())
        for of, n, to, times, actions, m in rows
    ]


def kind(before: list[int], after: list[int]) -> str:
    if MASK in after:
        return "masked"
    if len(after) < len(before):
        return "cropped"
    return "reordered" if after != before else "same"


def test_a_copy_is_cropped_masked_or_reordered() -> None:
    kinds: dict[str, set[int]] = {}
    for before, after, times, actions in views():
        n, found = len(before), kind(before, after)
        changed = [place for place in range(len(after)) if after[place] != before[place]]
        if found == "cropped":
            assert len(after) == int(n * 0.6)
            start = before.index(after[0])
            assert after == before[start : start + len(after)]
            assert (times, actions) == ([10 * item for item in after], [2 * item for item in after])
            kinds.setdefault(found, set()).add(start)
        elif found == "masked":
            assert len(changed) == int(n * 0.3)
            assert all(after[place] == MASK and actions[place] == 0 for place in changed)
            assert times == sorted(times)
            kinds.setdefault(found, set()).update(changed)
        elif found == "reordered":
            assert sorted(after) == before
            assert max(changed) - min(changed) < int(n * 0.6)
            assert times == [10 * item for item in before]
            assert actions == [2 * item for item in after]
            kinds.setdefault(found, set()).update(changed)
    assert kinds == {"cropped": set(range(5)), "masked": set(range(10)), "reordered": set(range(10))}


def test_shares_may_leave_all_as_it_is() -> None:
    assert all(before == after for before, after, *_ in views(crop=1.0, mask=0.0, reorder=0.0))


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_at_least_one_event_is_masked_and_never_the_first(share: float) -> None:
    inputs, lengths, targets, events, *_ = with_masked_events(BATCH, KEYS, share)
    assert torch.equal(lengths, LENGTHS)
    masked = inputs == MASK
    assert torch.equal(targets, ITEMS * masked)
    assert torch.equal(inputs, ITEMS.masked_fill(masked, MASK))
    assert not masked[:, 0].any()
    assert torch.equal(masked.any(1), LENGTHS > 1)
    assert not masked[ITEMS == PAD].any()
    assert events.actions is not None
    assert not events.actions[masked].any()
    n_maskable = int((LENGTHS - 1).sum())
    assert masked.sum() / n_maskable == pytest.approx(0.175 if share < 0.1 else 0.51, abs=0.03)


def test_a_row_is_the_same_in_any_batch() -> None:
    settings = AugmentedViewsSettings(kind="augmented")
    some = torch.arange(3, 40, 4)  # of four events each

    def rows(take: Tensor, width: int) -> list[Tensor]:
        batch = MicroBatch(ITEMS[take, :width], LENGTHS[take], ITEMS[take, :width])
        return [augmented(batch, KEYS[take], settings).inputs, with_masked_events(batch, KEYS[take], 0.3).inputs]

    for narrow, wide in zip(rows(some, 4), rows(torch.arange(len(ITEMS)), 10), strict=True):
        assert torch.equal(narrow, wide[some, :4])
