"""What a user is told when something is wrong: what, where, and what to do; never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .command import seqrec


def refused(*arguments: str | Path, cwd: Path) -> str:
    """The message of a command that must fail."""
    done = seqrec(*arguments, cwd=cwd, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    print(done.stderr)  # pytest -rP shows the messages
    return done.stderr


def test_missing_column(shop_log: Path, tmp_path: Path) -> None:
    message = refused("prepare", shop_log / "events.csv", "--out", "store", "--user", "usr", cwd=tmp_path)
    assert "no column `usr`" in message
    assert "events.csv" in message
    assert "did you mean `user`?" in message
    assert not (tmp_path / "store").exists()


def test_wrong_time_unit(tmp_path: Path) -> None:
    rows = "".join(f"u{i},i{i % 7},{1_700_000_000 + i}\n" for i in range(50))
    (tmp_path / "log.csv").write_text("user,item,time\n" + rows)
    message = refused("prepare", "log.csv", "--out", "store", "--time-unit", "ms", cwd=tmp_path)
    assert "1970-01-20" in message
    assert "2023-11-14" in message
    assert "time_unit: s" in message


def test_options_that_a_recipe_says_itself(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    recipe = write_recipe(logs={"sources": ["log.csv"]})
    done = seqrec("prepare", recipe, "--min-user-events", "9", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "a recipe says this itself" in done.stderr
    assert "--min-user-events" in done.stderr


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("optimizer.learning_rate=1", "unknown key `optimizer.learning_rate`"),
        ("data.max_lenght=9", "did you mean `max_length`?"),
        ("model.backbone.kind=gpt3", "did you mean `gpt2`?"),
        ("model.backbone={kind: pretrained, source: ./nowhere/model}", "./nowhere/model"),
        ("data.store=.", "not a sequence store"),
        ("model.adapter={kind: lora, target_modules: [q_proj]}", "no linear layers named `q_proj`"),
        ("trainer.limit_train_batches=3", "part of an epoch cannot be resumed exactly"),
    ],
)
def test_wrong_recipe(write_recipe: Callable[..., Path], tmp_path: Path, override: str, told: str) -> None:
    message = refused("fit", write_recipe(), override, cwd=tmp_path)
    assert told in message
    assert not (tmp_path / "runs/tiny/checkpoints").exists()


def test_unknown_item_and_changed_recipe(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    recipe: Any = write_recipe()
    seqrec("fit", recipe, "trainer.max_epochs=1", cwd=tmp_path)
    message = refused("recommend", "runs/tiny", "--history=no-such-item", cwd=tmp_path)
    assert "'no-such-item'" in message
    assert "catalogue of" in message
    message = refused("fit", recipe, "trainer.max_epochs=1", "seed=2", cwd=tmp_path)
    assert "seed: 1 → 2" in message
    assert "--fresh" in message
    assert "not a run folder" in refused("evaluate", "runs/other", cwd=tmp_path)
