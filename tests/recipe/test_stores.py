from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from seqrec.errors import StoreError
from seqrec.logs import prepare
from seqrec.recipe import Recipe, ensure_store, parse_recipe


def recipe_of(values: dict[str, Any], folder: Path, **logs: Any) -> Recipe:
    sections = {"logs": {"sources": ["log.csv"], "root": str(folder)} | logs, "data": {"store": str(folder / "store")}}
    return parse_recipe(values | sections, where="test")


@pytest.fixture
def prepared(recipe_values: dict[str, Any], tmp_path: Path) -> Path:
    """A folder with a log, and the store that a recipe made of it."""
    (tmp_path / "log.csv").write_text(
        "user,item,time\n" + "".join(f"u{i % 3},i{i % 4},{1_700_000_000 + i}\n" for i in range(12))
    )
    ensure_store(recipe_of(recipe_values, tmp_path, time_unit="s"))
    return tmp_path


def test_of_programs_that_find_it_missing_one_makes_it(
    recipe_values: dict[str, Any], prepared: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(prepared / "store")
    made: list[float] = []

    def slowly(*arguments: Any) -> Any:
        made.append(time.monotonic())
        time.sleep(0.3)
        return prepare(*arguments)

    monkeypatch.setattr("seqrec.recipe.stores.prepare", slowly)
    recipe = recipe_of(recipe_values, prepared, time_unit="s")
    with ThreadPoolExecutor(4) as pool:  # locks are held against threads as against processes
        stores = list(pool.map(ensure_store, [recipe] * 4))
    assert len(made) == 1
    assert "another program makes" in caplog.text
    assert {store.manifest.fingerprint for store in stores} == {ensure_store(recipe).manifest.fingerprint}


def test_a_store_of_other_settings_is_refused(recipe_values: dict[str, Any], prepared: Path) -> None:
    other = recipe_of(recipe_values, prepared, time_unit="s", clean={"min_user_events": 4})
    with pytest.raises(StoreError, match=r"(?s)logs\.clean was .*'min_user_events': 1.* is .*4.*`data\.store`"):
        ensure_store(other)


def test_a_store_is_opened_where_its_logs_are_gone(recipe_values: dict[str, Any], prepared: Path) -> None:
    (prepared / "log.csv").unlink()
    assert ensure_store(recipe_of(recipe_values, prepared, time_unit="s")).manifest.counts.events == 12
