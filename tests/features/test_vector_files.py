from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqrec.errors import FeatureError
from seqrec.features import read_vectors, write_vectors

IDS = ["007", "7", "-1"]
VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.mark.parametrize("suffix", [".parquet", ".safetensors", ".npy"])
def test_vectors_come_by_id(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"v{suffix}"
    if suffix == ".npy":
        np.save(file, VECTORS.astype(np.float64))
        file.with_suffix(".json").write_text(json.dumps(IDS))
    else:
        write_vectors(file, IDS, VECTORS)
    assert read_vectors(file, ["-1", "007"]).tolist() == [[4, 5], [0, 1]]
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == (
        [suffix] if suffix == ".parquet" else [".json", suffix]
    )


def test_lists_of_other_numbers_will_do(tmp_path: Path) -> None:
    columns = {"item_id": IDS, "vector": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.float64())), "more": [1, 2, 3]}
    pq.write_table(pa.table(columns), tmp_path / "v.parquet")
    assert read_vectors(tmp_path / "v.parquet", ["7"]).tolist() == [[3, 4]]


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    def wrong(match: str, ids: list[str] = IDS, name: str = "v.parquet") -> None:
        with pytest.raises(FeatureError, match=f"(?s){match}"):
            read_vectors(tmp_path / name, ids)

    wrong("v.parquet: no such file.*seqrec embed RECIPE --out")
    wrong("v.csv: not one of", name="v.csv")
    write_vectors(tmp_path / "v.parquet", IDS, VECTORS)
    wrong("2 of 3 items of the catalogue have no vector.*'8', '9'.*3 vectors", ids=["8", "7", "9"])
    write_vectors(tmp_path / "v.parquet", ["7", "7", "8"], VECTORS)
    wrong("1 ids occur more than once.*'7'", ids=["7"])
    write_vectors(tmp_path / "v.parquet", IDS, np.where(VECTORS == 3, np.nan, VECTORS))
    wrong("1 items have numbers that are not finite.*'7'")
    pq.write_table(pa.table({"item_id": IDS, "vector": [[1.0], [1.0, 2.0], None]}), tmp_path / "v.parquet")
    wrong("from 0 to 2 numbers")
    pq.write_table(pa.table({"item": IDS}), tmp_path / "v.parquet")
    wrong("not a Parquet file with columns `item_id` and `vector`")
    np.save(tmp_path / "v.npy", VECTORS)
    wrong("no vectors with their ids.*v.json", name="v.npy")
    (tmp_path / "v.json").write_text('["a"]')
    wrong(r"shape \(3, 2\), and 1 ids in v.json", name="v.npy")


@pytest.mark.parametrize("there", ["own file", "other vectors"])
def test_ids_take_no_other_file_s_place(tmp_path: Path, there: str) -> None:
    (tmp_path / "v.json").write_text(json.dumps(IDS[::-1]))
    if there == "other vectors":
        np.save(tmp_path / "v.npy", VECTORS)
    with pytest.raises(FeatureError, match=r"v\.json: the ids of the vectors would take the place"):
        write_vectors(tmp_path / "v.safetensors", IDS, VECTORS)
    assert json.loads((tmp_path / "v.json").read_text()) == IDS[::-1]
    assert not (tmp_path / "v.safetensors").exists()


def test_a_file_may_be_written_again_with_its_ids(tmp_path: Path) -> None:
    write_vectors(tmp_path / "v.safetensors", IDS, VECTORS)
    write_vectors(tmp_path / "v.safetensors", IDS[:2], VECTORS[:2])
    assert read_vectors(tmp_path / "v.safetensors", IDS[:2]).tolist() == VECTORS[:2].tolist()
