from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from seqrec.bulk import SUCCESS, recommend_all
from seqrec.errors import RunError
from seqrec.models import SequenceModel, TopPSettings
from seqrec.recipe import build_data, build_recipe_model, parse_recipe
from seqrec.serving import Recommender
from seqrec.stream import SequenceDataModule

Parts = tuple[SequenceModel, SequenceDataModule]


@pytest.fixture
def parts(recipe_values: dict[str, Any], store_in_units: Path) -> Callable[..., Parts]:
    """A model of random weights and a store of several windows."""

    def make(**split: Any) -> Parts:
        small = {"store": str(store_in_units), "window_tokens": 1, "evaluation_tokens": 4}
        data = recipe_values["data"] | small | {"split": {"kind": "leave_one_out"} | split}
        recipe = parse_recipe(recipe_values | {"data": data}, where="test")
        found = build_data(recipe)
        torch.manual_seed(0)
        return build_recipe_model(recipe, found.store, total_steps=1).eval(), found

    return make


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for part in sorted(folder.glob("part-*")) for row in pq.read_table(part).to_pylist()]


@pytest.mark.parametrize("seen", ["filter", "allow"])
def test_every_user_gets_the_slate_of_the_whole_sequence(
    parts: Callable[..., Parts], seen: Any, tmp_path: Path
) -> None:
    model, data = parts(seen=seen)
    assert recommend_all(model, data, tmp_path / "out", k=7) == 120
    found = rows(tmp_path / "out")
    users = list(data.store.user_ids())
    assert [row["user_id"] for row in found] == users
    histories = data.store.histories(users)
    catalogue = data.store.catalogue
    recommender = Recommender(model, catalogue.item_ids, seen=seen, max_length=20, popular=data.split.train_counts[1:])
    slates = recommender.recommend([catalogue.decode(histories[user]) for user in users], k=7)
    for row, slate in zip(found, slates, strict=True):
        assert row["items"] == [one.item_id for one in slate]
        assert row["scores"] == pytest.approx([one.score for one in slate], abs=1e-5)
    success = json.loads((tmp_path / "out" / SUCCESS).read_text())
    assert (success["users"], success["users_without_history"], success["k"]) == (120, 0, 7)
    assert success["parts"] == len(list((tmp_path / "out").glob("part-*"))) > 3


def test_lists_are_shorter_where_less_is_left(parts: Callable[..., Parts], tmp_path: Path) -> None:
    model, data = parts(seen="filter")
    recommend_all(model, data, tmp_path / "out", k=60)
    for row in rows(tmp_path / "out"):
        seen = set(data.store.catalogue.decode(data.store.histories([row["user_id"]])[row["user_id"]]))
        assert sorted(row["items"]) == sorted(set(data.store.catalogue.item_ids) - seen)


def test_a_second_call_writes_only_what_is_missing(parts: Callable[..., Parts], tmp_path: Path) -> None:
    model, data = parts()
    recommend_all(model, data, tmp_path / "out", k=3)
    files = sorted((tmp_path / "out").glob("part-*"))
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
    files[1].unlink()
    (tmp_path / "out" / SUCCESS).unlink()
    (tmp_path / "out" / "part-00000.parquet.tmp").write_text("half a part")
    assert recommend_all(model, data, tmp_path / "out", k=3) == 120
    assert {file: file.read_bytes() for file in files} == {file: text for file, (text, _) in before.items()}
    assert [file for file in files if file.stat().st_mtime_ns != before[file][1]] == [files[1]]
    assert not list((tmp_path / "out").glob("*.tmp"))


def test_another_request_is_refused_by_name_and_fresh_starts_over(parts: Callable[..., Parts], tmp_path: Path) -> None:
    model, data = parts(seen="allow")
    recommend_all(model, data, tmp_path / "out", k=3)
    with pytest.raises(RunError, match=r"(?s)another request.*k: +3 → 4.*`--fresh`"):
        recommend_all(model, data, tmp_path / "out", k=4)
    with pytest.raises(RunError, match=r"seen: +allow → filter"):
        recommend_all(*parts(seen="filter"), tmp_path / "out", k=3)
    with torch.no_grad():
        model.item_vectors()[0, 0] += 1
    with pytest.raises(RunError, match=r"model: +[0-9a-f]{64} → "):
        recommend_all(model, data, tmp_path / "out", k=3)
    assert len(rows(tmp_path / "out")[0]["items"]) == 3
    recommend_all(model, data, tmp_path / "out", k=4, fresh=True)
    assert {len(row["items"]) for row in rows(tmp_path / "out")} == {4}


def test_another_decoding_is_another_request(
    recipe_values: dict[str, Any], store_in_units: Path, tmp_path: Path
) -> None:
    model = recipe_values["model"] | {"head": {"kind": "slate", "size": 3, "decoder": "gru"}}
    data = recipe_values["data"] | {"store": str(store_in_units)}
    recipe = parse_recipe(recipe_values | {"model": model, "data": data}, where="test")
    found = build_data(recipe)
    slates = build_recipe_model(recipe, found.store, total_steps=1).eval()
    recommend_all(slates, found, tmp_path / "out", k=3)
    slates.decoding = TopPSettings(kind="top_p", seed=3)
    with pytest.raises(RunError, match=r"(?s)of another request.*decoding: .*greedy.* → .*top_p"):
        recommend_all(slates, found, tmp_path / "out", k=3)


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_of_something_else_is_left_alone(parts: Callable[..., Parts], fresh: bool, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("text")
    with pytest.raises(RunError, match="not empty and holds no bulk recommendation"):
        recommend_all(*parts(), tmp_path, fresh=fresh)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
