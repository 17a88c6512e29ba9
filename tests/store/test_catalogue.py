from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqrec.errors import UnknownIdError
from seqrec.store import Catalogue

IDS = ["007", "7", "-1", " a ", "é"]


def test_ids_are_strings_and_survive_both_ways() -> None:
    catalogue = Catalogue.of_ids(IDS)
    assert len(catalogue) == 5
    assert catalogue.encode(["-1", "7", "007", "7"]).tolist() == [3, 2, 1, 2]
    assert catalogue.decode(catalogue.encode(IDS)) == IDS
    assert catalogue.encode([]).tolist() == []


def test_an_unknown_id_is_counted_named_and_given_its_nearest() -> None:
    catalogue = Catalogue.of_ids(["shirt-red", "shirt-blue"])
    with pytest.raises(UnknownIdError, match=r"(?s)2 of 3 item ids .* 2 items.*'shirt-rod'.*'shirt-red'.*do: "):
        catalogue.encode(["shirt-blue", "shirt-rod", "zzz"])
    with pytest.raises(KeyError, match="'zzz'") as caught:
        catalogue.encode(["zzz"])
    assert "nearest" not in str(caught.value)


def test_index_zero_is_padding_and_names_nothing() -> None:
    with pytest.raises(UnknownIdError):
        Catalogue.of_ids(IDS).encode(["0"])


def test_an_item_without_a_title_goes_by_its_id(tmp_path: Path) -> None:
    table = pa.table({"item": pa.array([1, 2], pa.int32()), "item_id": ["a", "b"], "title": ["Lamp", None]})
    pq.write_table(table, tmp_path / "catalogue.parquet")
    assert Catalogue.read(tmp_path / "catalogue.parquet").titles == ["Lamp", "b"]
    assert Catalogue.of_ids(["a"]).titles is None
