from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from seqrec.errors import RunError, SeqrecError, UnsupportedError
from seqrec.recipe import Recipe, fit, parse_recipe
from seqrec.training import TrainingTime

THREE_HEADS_OF_16 = {"kind": "gpt2", "layers": 1, "heads": 3, "width": 16}


@pytest.fixture
def recipe(recipe_values: dict[str, Any]) -> Recipe:
    return parse_recipe(recipe_values, where="test")


@pytest.fixture
def unbuildable(recipe_values: dict[str, Any]) -> Recipe:
    """A recipe that only building the model finds fault with."""
    model = recipe_values["model"] | {"backbone": THREE_HEADS_OF_16}
    return parse_recipe(recipe_values | {"model": model}, where="test")


def test_fresh_starts_over(recipe: Recipe, recipe_values: dict[str, Any], tmp_path: Path) -> None:
    first = fit(recipe, runs=tmp_path)
    name = (first.folder / "run.id").read_text()
    (first.folder / "left behind").touch()
    optimizer = recipe_values["optimizer"] | {"lr": 0.5}
    again = fit(parse_recipe(recipe_values | {"optimizer": optimizer}, where="test"), runs=tmp_path, fresh=True)
    assert again.recipe.optimizer.lr == 0.5
    assert (again.folder / "run.id").read_text() != name
    assert not (again.folder / "left behind").exists()
    assert again.result is not None
    assert again.result["epochs"] == 2
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", ".tiny.lock"}


def test_a_recipe_that_cannot_be_built_takes_no_folder(recipe: Recipe, unbuildable: Recipe, tmp_path: Path) -> None:
    with pytest.raises(SeqrecError, match="heads"):
        fit(unbuildable, runs=tmp_path)
    assert not (tmp_path / "tiny").exists()
    assert fit(recipe, runs=tmp_path).result is not None


def test_a_recipe_that_cannot_be_built_replaces_no_run(recipe: Recipe, unbuildable: Recipe, tmp_path: Path) -> None:
    run = fit(recipe, runs=tmp_path)
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    with pytest.raises(SeqrecError, match="heads"):
        fit(unbuildable, runs=tmp_path, fresh=True)
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before


def test_what_does_not_go_together_is_refused_before_a_store_is_made(
    recipe_values: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "log.csv").write_text("user,item,time\nu,i,1700000000\n")
    logs, data = {"sources": ["log.csv"], "root": str(tmp_path)}, {"store": str(tmp_path / "store")}
    values = recipe_values | {"logs": logs, "data": data, "selection": {"metric": "auc"}}
    with pytest.raises(UnsupportedError, match=r"selection\.metric"):
        fit(parse_recipe(values, where="test"), runs=tmp_path)
    assert not (tmp_path / "store").exists()


def test_two_trainings_in_one_folder_are_kept_apart(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("seqrec.recipe.fitting._WAIT_SECONDS", 0.1)
    with FileLock(tmp_path / ".tiny.lock"), pytest.raises(RunError, match="another process trains this run"):
        fit(recipe, runs=tmp_path)
    assert "waiting for it up to" in caplog.text
    assert not (tmp_path / "tiny").exists()
    assert fit(recipe, runs=tmp_path).result is not None


def test_time_goes_on_over_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("seqrec.training.callbacks.time.monotonic", lambda: now)
    first = TrainingTime()
    now = 130.0
    saved = first.state_dict()
    now = 900.0
    second = TrainingTime()
    second.load_state_dict(saved)
    now = 905.0
    assert second.seconds == 35.0
