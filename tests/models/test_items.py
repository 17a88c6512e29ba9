from __future__ import annotations

import pytest
import torch

from seqrec.models import MASK, PAD, IdItemsSettings, ItemAttributes, ItemTable, items


def test_item_i_is_row_i_minus_1_and_the_mask_is_apart() -> None:
    table = ItemTable(3, IdItemsSettings(width=2), with_mask=True)
    with torch.no_grad():
        table.weight.copy_(torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
        table.mask.fill_(9.0)
    assert table(torch.tensor([[3, 1, MASK]])).tolist() == [[[3, 3], [1, 1], [9, 9]]]
    assert table(torch.tensor([[2, PAD]]))[0, 0].tolist() == [2, 2]
    assert table.weight.shape == (3, 2)


def test_only_heads_that_mask_have_a_mask_vector() -> None:
    assert [name for name, _ in ItemTable(3, IdItemsSettings(), with_mask=False).named_parameters()] == ["weight"]


def test_initial_vectors() -> None:
    torch.manual_seed(0)
    table = ItemTable(2000, IdItemsSettings(width=32, init_std=0.5), with_mask=False)
    assert table.width == 32
    assert abs(table.weight.std().item() - 0.5) < 0.01
    assert abs(table.weight.mean().item()) < 0.01


@pytest.mark.parametrize("n_items", [1, 63, 64, 65, 128, 129, 1000])
@pytest.mark.parametrize("width", [1, 16])
def test_some_rows_are_those_of_the_whole_table(n_items: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "_PIECE", 64)
    settings = IdItemsSettings(width=width)
    torch.manual_seed(0)
    whole = torch.empty(n_items, width).normal_(std=settings.init_std)
    for rows in (None, slice(n_items // 3, n_items - n_items // 4)):
        torch.manual_seed(0)
        made = ItemTable(n_items, settings, with_mask=False, rows=rows)
        assert made.n_items == n_items
        assert torch.equal(made.weight, whole[rows or slice(None)])


def test_an_item_has_the_mean_vector_of_its_attributes_too() -> None:
    attributes = ItemAttributes(torch.tensor([1, 0, 1]), torch.tensor([0, 1, 3, 3]), n_values=2)
    table = ItemTable(3, IdItemsSettings(width=2), with_mask=False, attributes=attributes)
    assert table.attributes is not None
    with torch.no_grad():
        table.weight.copy_(torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
        table.attributes.weight.copy_(torch.tensor([[10.0, 0.0], [0.0, 20.0]]))
    assert table.vectors().tolist() == [[1, 21], [7, 12], [3, 3]]
    assert table(torch.tensor([[3, 2]])).tolist() == [[[3, 3], [7, 12]]]
    assert {*table.state_dict()} == {"weight", "attributes.weight"}
