"""Attributes of users as integers, against the store's own text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from seqrec.errors import FeatureError
from seqrec.store import SequenceStore
from seqrec.store.users import encode_users, read_user_values
from seqrec.users import UNIT, UserSettings


def test_values_are_those_of_all_units_and_are_written_alike(shop_store: Path, store_in_units: Path) -> None:
    settings = UserSettings(categories=["band"], numbers=["age"])
    values = read_user_values(settings, SequenceStore(store_in_units))
    assert values.categories == {"band": ["a", "b", "c"]}
    store = SequenceStore(shop_store)
    (sequences,) = store.scan(("items", "band", "age"))
    rows = store.rows_of(store.user_ids(), ("band", "age"))
    ages = np.array([np.nan if row["age"] is None else float(row["age"]) for row in rows.values()])
    assert np.isnan(ages).any()
    standard = (ages - np.nanmean(ages)) / np.nanstd(ages)
    found = encode_users(values, sequences.attributes, len(sequences))
    assert found.dtype == np.int32
    assert found[:, 0].tolist() == ["abc".index(row["band"]) + 1 if row["band"] else 0 for row in rows.values()]
    np.testing.assert_allclose(found[:, 1] / UNIT, np.nan_to_num(standard), atol=0.6 / UNIT)


def test_what_is_not_known_is_nothing(shop_store: Path) -> None:
    values = read_user_values(UserSettings(categories=["band"], numbers=["age"]), SequenceStore(shop_store))
    columns = {"band": pa.array(["c", None, "z"]), "age": pa.array(["1e300", None, "nan"])}
    found = encode_users(values, columns, 3)
    assert found.tolist() == [[3, 1000 * UNIT], [0, 0], [0, 0]]
    assert encode_users(values, {"band": columns["band"]}, 3)[:, 1].tolist() == [0, 0, 0]


def test_a_category_is_no_number(shop_store: Path) -> None:
    with pytest.raises(FeatureError, match=r"(?s)model.users.numbers: band: a cell is not a number.*categories"):
        read_user_values(UserSettings(numbers=["band"]), SequenceStore(shop_store))
