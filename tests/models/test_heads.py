from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqrec.models import MASK, PAD, MaskedItem, MaskedItemSettings, NextItem, NextItemSettings, build_head

SMALL = st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=8), min_size=1, max_size=5)


def batch(rows: list[list[int]], width: int | None = None) -> tuple[Tensor, Tensor]:
    width = width or max(len(row) for row in rows)
    items = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    return items, torch.tensor([len(row) for row in rows])


def keys(n: int, start: int = 0) -> np.ndarray:
    return np.arange(start, start + n, dtype=np.uint64)


def masked_item(mask_share: float = 0.2, last_share: float = 0.2) -> MaskedItem:
    return MaskedItem(MaskedItemSettings(kind="masked_item", mask_share=mask_share, last_share=last_share))


def test_next_item_by_hand() -> None:
    inputs, lengths, targets, _ = NextItem().pairs(*batch([[5, 3, 8, 2], [4, 6], [7, 1, 9]]), keys(3))
    assert inputs.tolist() == [[5, 3, 8], [4, 0, 0], [7, 1, 0]]
    assert targets.tolist() == [[3, 8, 2], [6, 0, 0], [1, 9, 0]]
    assert lengths.tolist() == [3, 1, 2]


def test_next_item_asks_with_the_history_itself() -> None:
    items, lengths = batch([[5, 3], [4]])
    inputs, at, _ = NextItem().query(items, lengths)
    assert torch.equal(inputs, items)
    assert torch.equal(at, lengths)


@given(SMALL)
def test_next_item_has_a_target_where_it_has_an_input(rows: list[list[int]]) -> None:
    inputs, lengths, targets, _ = NextItem().pairs(*batch(rows), keys(len(rows)))
    assert torch.equal(inputs == PAD, targets == PAD)
    assert torch.equal((inputs != PAD).sum(1), lengths)


@given(SMALL, st.integers(0, 2**32), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 5))
def test_masks_depend_on_the_key_alone(rows: list[list[int]], start: int, last_share: float, padding: int) -> None:
    head, width = masked_item(0.3, last_share), max(len(row) for row in rows)
    together = head.pairs(*batch(rows, width + padding), keys(len(rows), start))
    for number, row in enumerate(rows):
        alone = head.pairs(*batch([row]), keys(1, start + number))
        assert together.inputs[number, : len(row)].tolist() == alone.inputs[0].tolist()
        assert together.targets[number, : len(row)].tolist() == alone.targets[0].tolist()


@given(SMALL, st.integers(0, 2**32), st.floats(0.001, 0.9), st.floats(0, 1))
def test_masked_positions_are_the_targets(rows: list[list[int]], start: int, mask_share: float, share: float) -> None:
    items, lengths = batch(rows, 9)
    inputs, same_lengths, targets, _ = masked_item(mask_share, share).pairs(items, lengths, keys(len(rows), start))
    masked = inputs == MASK
    assert masked.any(1).all()
    assert torch.equal(torch.where(masked, targets, inputs), items)
    assert torch.equal(masked, targets != PAD)
    assert torch.equal(same_lengths, lengths)


def test_share_of_masks_on_long_sequences() -> None:
    items = torch.ones(200, 400, dtype=torch.long)
    inputs = masked_item(0.15, last_share=0).pairs(items, torch.full((200,), 400), keys(200)).inputs
    # 80,000 draws: the standard deviation of the share is 0.0013
    assert abs((inputs == MASK).float().mean().item() - 0.15) < 0.006


def test_a_short_sequence_without_a_draw_masks_any_of_its_events() -> None:
    items = torch.ones(600, 3, dtype=torch.long)
    inputs = masked_item(1e-9, last_share=0).pairs(items, torch.full((600,), 3), keys(600)).inputs
    masked = inputs == MASK
    assert (masked.sum(1) == 1).all()
    assert (masked.sum(0) > 150).all()  # each position about 200 times


def test_last_share() -> None:
    items, lengths = torch.ones(4000, 10, dtype=torch.long), torch.full((4000,), 8)
    only_last = torch.zeros(10, dtype=torch.bool)
    only_last[7] = True
    for share in (0.0, 0.25, 1.0):
        inputs = masked_item(0.5, share).pairs(items, lengths, keys(4000)).inputs
        found = ((inputs == MASK) == only_last).all(1).float().mean().item()
        by_chance = (1 - share) * 0.5**8  # a Cloze draw that falls on the last event alone
        assert abs(found - share - by_chance) < 0.03


def test_masked_item_asks_with_a_mask_right_after_the_history() -> None:
    inputs, lengths, _ = masked_item().query(*batch([[5, 3, 8], [4], [7, 2]]))
    assert inputs.tolist() == [[5, 3, 8, MASK], [4, MASK, 0, 0], [7, 2, MASK, 0]]
    assert lengths.tolist() == [4, 2, 3]


def test_build_head() -> None:
    assert isinstance(build_head(NextItemSettings()), NextItem)
    head = build_head(MaskedItemSettings(kind="masked_item", mask_share=0.4))
    assert isinstance(head, MaskedItem)
    assert head.mask_share == 0.4
