from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from seqrec.errors import BundleError, RunError, StoreError
from seqrec.export import load_bundle
from seqrec.recipe import Run, export_run, fit, open_trained, parse_recipe
from seqrec.store import SequenceStore


@pytest.fixture
def run(recipe_values: dict[str, Any], shop_store: Path, tmp_path: Path) -> Run:
    """A trained run whose store can be moved."""
    shutil.copytree(shop_store, tmp_path / "store")
    data = recipe_values["data"] | {"store": str(tmp_path / "store")}
    return fit(parse_recipe(recipe_values | {"data": data}, where="test"), runs=tmp_path)


def slate(trained: Any, history: list[str]) -> list[str]:
    return [one.item_id for one in trained.recommender().recommend([history], k=5)[0]]


def test_a_run_is_opened_over_a_store_that_was_moved(run: Run, tmp_path: Path) -> None:
    ids = SequenceStore(tmp_path / "store").catalogue.item_ids[:3]
    expected = slate(open_trained(run.folder), ids)
    (tmp_path / "store").rename(tmp_path / "moved")
    moved = open_trained(run.folder, store=tmp_path / "moved")
    assert slate(moved, ids) == expected
    assert moved.data.store.path == tmp_path / "moved"
    with pytest.raises(StoreError, match="not a sequence store"):
        open_trained(run.folder).recommender()


def test_a_run_over_another_catalogue_is_refused(run: Run, tmp_path: Path) -> None:
    """Of the same size, so that nothing else would notice: every recommendation would name another item."""
    shutil.copytree(tmp_path / "store", tmp_path / "other")
    other = open_trained(run.folder, store=make_other(tmp_path / "other"))
    with pytest.raises(RunError, match=r"(?s)other: its catalogue of 60 items is not the one.*--store"):
        _ = other.model


def test_a_bundle_recommends_as_its_run_and_without_a_store(run: Run, shop_store: Path, tmp_path: Path) -> None:
    ids = SequenceStore(shop_store).catalogue.item_ids[:3]
    expected = slate(open_trained(run.folder), ids)
    export_run(run, tmp_path / "bundle")
    (tmp_path / "store").rename(tmp_path / "moved")
    bundle = open_trained(tmp_path / "bundle")
    assert slate(bundle, ids) == expected
    with pytest.raises(StoreError, match="not a sequence store"):
        _ = bundle.data
    assert open_trained(tmp_path / "bundle", store=shop_store).data.store.path == shop_store
    other = make_other(tmp_path / "moved")
    with pytest.raises(BundleError, match=r"(?s)catalogue is not the one that was trained on.*--store"):
        _ = open_trained(tmp_path / "bundle", store=other).data


def test_forms_of_a_refit_are_judged_by_users_it_has_not_met(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    data = recipe_values["data"] | {"split": {"kind": "leave_one_out", "refit": True}}
    run = fit(parse_recipe(recipe_values | {"data": data}, where="test"), runs=tmp_path)
    report = load_bundle(export_run(run, tmp_path / "bundle", forms=["index"])).manifest.forms["index"]
    assert report.users == run.data.evaluation("test").counts.users
    assert report.same_top_10 is not None
    assert report.same_top_10 > 0.9


def make_other(path: Path) -> Path:
    """The same store with two item ids exchanged."""
    import pyarrow.parquet as pq

    table = pq.read_table(path / "catalogue.parquet")
    order = [1, 0, *range(2, table.num_rows)]
    position = table.column_names.index("item_id")
    pq.write_table(
        table.set_column(position, "item_id", table.column("item_id").take(order)), path / "catalogue.parquet"
    )
    return path
