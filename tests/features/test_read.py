from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from seqrec.errors import FeatureError, RecipeError
from seqrec.features import item_texts, read_attributes, read_features, write_vectors
from seqrec.models import FusedItemsSettings, ItemFeatures
from seqrec.store import Catalogue

CATALOGUE = Catalogue(
    pa.table(
        {
            "item_id": ["a", "b", "c", "d"],
            "title": ["A", None, "C {x}", "D"],
            "category": ["red|small", "red", None, " blue | red "],
            "price": ["1", "3", "100", None],
            "colour": ["1", "dear", "2", "3"],
        }
    )
)
TRAINED = np.array([True, True, False, True])


def read(**settings: Any) -> ItemFeatures:
    return read_features(FusedItemsSettings.model_validate({"kind": "fused"} | settings), CATALOGUE, TRAINED)


def test_scales_are_those_of_items_with_training_events(tmp_path: Path) -> None:
    raw = np.array([[1, 0], [3, 0], [9, 9], [2, 0]], dtype=np.float32)
    write_vectors(tmp_path / "v.parquet", CATALOGUE.item_ids, raw)
    found = read(vectors=[str(tmp_path / "v.parquet")], numbers=["price"])
    assert found.numbers.flatten().tolist() == [-1, 1, 98, 0]
    scale = (2 / 3) ** -0.5
    torch.testing.assert_close(found.vectors[0], torch.tensor([[-1, 0], [1, 0], [7, 9], [0, 0]]) * scale)
    assert found.trained.tolist() == TRAINED.tolist()
    assert found.fingerprint != read(numbers=["price"]).fingerprint


def test_an_item_may_have_several_values() -> None:
    [split] = read(categories=[{"column": "category"}]).categories
    assert split.n_labels == 3  # blue, red, small
    assert split.codes.tolist() == [[2, 3], [2, 0], [0, 0], [1, 2]]
    [whole] = read(categories=[{"column": "category", "separator": None}]).categories
    assert whole.n_labels == 3
    assert whole.codes.tolist() == [[3], [2], [0], [1]]


def test_values_that_items_share_are_numbered() -> None:
    table = pa.table(
        {
            "item_id": ["a", "b", "c", "d"],
            "category": ["Nails|Red", "Red| Nails ", None, "Hair"],
            "brand": ["Red", "OPI", "OPI", ""],
        }
    )
    values, offsets, n_values = read_attributes(["category", "brand"], Catalogue(table))
    assert offsets.tolist() == [0, 2, 5, 6, 6]
    assert values.tolist() == [0, 1, 1, 0, 2, 2]  # one item only has Hair, and one the brand Red
    assert n_values == 3
    with pytest.raises(RecipeError, match="no two items share a value of item_id"):
        read_attributes(["item_id"], Catalogue(table))
    with pytest.raises(RecipeError, match=r"(?s)model.items.attributes: .*no column `brant`.*did you mean `brand`"):
        read_attributes(["brant"], Catalogue(table))


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(RecipeError, match=r"(?s)model.items.numbers: prise: .*did you mean `price`"):
        read(numbers=["prise"])
    with pytest.raises(RecipeError, match=r"model\.items\.numbers: count: `count` is of the whole log"):
        read(numbers=["count"])
    with pytest.raises(FeatureError, match=r"(?s)model.items.numbers: colour: a cell is not a number.*dear"):
        read(numbers=["colour"])


def test_texts() -> None:
    assert item_texts(CATALOGUE, "{title} ({category})") == [
        "A (red|small)",
        " (red)",
        "C {x} ()",
        "D ( blue | red )",
    ]
    with pytest.raises(RecipeError, match=r"(?s)template: the catalogue has no column `titel`.*did you mean `title`"):
        item_texts(CATALOGUE, "{titel}")
    with pytest.raises(RecipeError, match="the same for all items"):
        item_texts(CATALOGUE, "an item")
    with pytest.raises(RecipeError, match=r"template: `\{title`"):
        item_texts(CATALOGUE, "{title")
