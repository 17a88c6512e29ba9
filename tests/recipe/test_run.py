from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqrec.errors import RunError
from seqrec.recipe import Recipe, Run, build, parse_recipe


def changed(values: dict[str, Any], **sections: dict[str, Any]) -> Recipe:
    merged = values | {name: values.get(name, {}) | fields for name, fields in sections.items()}
    return parse_recipe(merged, where="test")


def test_a_folder_belongs_to_the_recipe_that_claimed_it(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    run = Run(tmp_path / "runs/tiny")
    run.claim(changed(recipe_values))
    name = (run.folder / "run.id").read_text()
    run.claim(changed(recipe_values))
    assert (run.folder / "run.id").read_text() == name
    assert Run.open(run.folder).recipe == changed(recipe_values)


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"optimizer": {"lr": 0.5}}, r"optimizer\.lr: 0\.01 → 0\.5"),
        ({"data": {"step_tokens": 99}}, r"data\.step_tokens: 512 → 99"),
        ({"model": {"adapter": {"kind": "lora"}}}, r"model\.adapter: None → \{'kind': 'lora'"),
        ({"trainer": {"max_epochs": 3}}, r"trainer\.max_epochs: 2 → 3"),
        ({"trainer": {"precision": "64-true"}}, r"trainer\.precision: None → '64-true'"),
    ],
)
def test_another_recipe_is_refused_with_what_changed(
    recipe_values: dict[str, Any], tmp_path: Path, sections: dict[str, Any], told: str
) -> None:
    Run(tmp_path).claim(changed(recipe_values))
    with pytest.raises(RunError, match=rf"(?s)change 1: +{told}.*--fresh"):
        Run(tmp_path).claim(changed(recipe_values, **sections))


def test_every_change_is_told(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    Run(tmp_path).claim(changed(recipe_values))
    with pytest.raises(RunError, match=r"(?s)change 1: .*lr.*change 2: .*patience") as caught:
        Run(tmp_path).claim(changed(recipe_values, optimizer={"lr": 0.5}, selection={"patience": 9}))
    assert "change 3" not in str(caught.value)


def test_where_it_runs_and_what_it_shows_may_change(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    Run(tmp_path).claim(changed(recipe_values))
    free = {
        "max_steps": None,
        "devices": 2,
        "strategy": "ddp",
        "num_nodes": 2,
        "log_every_n_steps": 7,
        "enable_progress_bar": False,
    }
    saves = {"save_every_steps": 7}
    others = recipe_values | {"loggers": [{"kind": "tensorboard"}]}
    Run(tmp_path).claim(changed(others, trainer=free, selection=saves))


def test_a_limit_of_null_is_none(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    parts = build(changed(recipe_values, trainer={"max_steps": None}), tmp_path)
    assert parts.module.total_steps == 2 * parts.data.training.n_steps
    assert parts.trainer.max_steps == -1
    parts = build(changed(recipe_values, trainer={"max_epochs": None, "max_steps": 3}), tmp_path)
    assert parts.module.total_steps == 3


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"(?s)not a run folder.*seqrec fit RECIPE"):
        Run.open(tmp_path)
    assert not Run.exists(tmp_path)


def test_a_run_before_its_first_validation_has_no_model(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.claim(changed(recipe_values))
    assert run.result is None
    with pytest.raises(RunError, match="no checkpoint yet"):
        _ = run.model
