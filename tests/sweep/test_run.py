"""A small sweep through the command line, trained in processes of its own as users' are."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from seqrec.cli import app
from seqrec.recipe import load_recipe

FIELDS = ("optimizer.lr=1e-3..1e-1", "model.backbone.heads=2,3,4")


@pytest.fixture(scope="module")
def recipe(shop_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = {
        "name": "tiny",
        "data": {"store": str(shop_store), "max_length": 10, "step_tokens": 1024},
        "model": {
            "items": {"width": 16},
            "backbone": {"kind": "gpt2", "layers": 1, "heads": 2, "width": 16},
            "loss": {"kind": "sampled_softmax", "negatives": {"uniform": 32}},
        },
        "optimizer": {"lr": 0.01},
        "trainer": {"max_epochs": 2, "accelerator": "cpu"},
        "loggers": [],
    }
    file = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def arguments(recipe: Path, out: Path, trials: int, fields: tuple[str, ...] = FIELDS) -> list[str]:
    over = [word for field in fields for word in ("--over", field)]
    return ["sweep", str(recipe), *over, "--trials", str(trials), "--out", str(out)]


def names(text: str) -> list[str]:
    return [line.partition("]")[2].partition(", ")[0] for line in text.splitlines() if line.startswith("[")]


@pytest.fixture(scope="module")
def out(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of four trials, killed in the middle of the second, and gone on with."""
    out = tmp_path_factory.mktemp("sweep") / "out"
    process = subprocess.Popen([sys.executable, "-m", "seqrec", *arguments(recipe, out, 4)], start_new_session=True)
    until = time.monotonic() + 120
    while len(list(out.glob("runs/*/checkpoints/*"))) < 3:  # a checkpoint an epoch, and the second run's first
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    kill_group(process)
    found = CliRunner().invoke(app, arguments(recipe, out, 4))
    assert found.exit_code == 0, found.output
    (out / "said.txt").write_text(found.output)
    return out


def kill_group(process: subprocess.Popen[bytes]) -> None:
    import os

    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_it_goes_on_and_shows_what_it_found(recipe: Path, out: Path) -> None:
    said = (out / "said.txt").read_text()
    assert "[4/4]" in said
    assert "validation ndcg@10" in said
    page = (out / "index.html").read_text()
    assert page.count("<svg") == 2
    ended = len(list(out.glob("runs/*/result.json")))
    assert 1 < ended <= 4
    assert said.count("heads do not divide the width") == 2 * (4 - ended)  # when it was tried, and in the table


def test_the_best_values_are_a_recipe(recipe: Path, out: Path) -> None:
    best = load_recipe(out / "best.yaml")
    assert best.name == "tiny-best"
    results = [load_recipe(file) for file in out.glob("runs/*/recipe.yaml")]
    assert any(best.optimizer == other.optimizer and best.model == other.model for other in results)


def test_the_same_call_trains_nothing_and_more_trials_are_added(recipe: Path, out: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in out.glob("runs/*/*")}
    found = CliRunner().invoke(app, arguments(recipe, out, 4))
    assert found.exit_code == 0
    assert "[" not in found.stderr
    assert before == {file: file.stat().st_mtime_ns for file in out.glob("runs/*/*")}


def test_another_sweep_is_refused(recipe: Path, out: Path) -> None:
    found = CliRunner().invoke(app, arguments(recipe, out, 4, ("optimizer.lr=1e-3..1e-2",)))
    assert "the folder holds another sweep" in str(found.exception)
    found = CliRunner().invoke(app, [*arguments(recipe, out, 4), "seed=7"])
    assert "the folder holds another sweep" in str(found.exception)


def test_settings_without_a_value_say_why(recipe: Path, tmp_path: Path) -> None:
    """One whose loss is not finite, and one whose values do not go together: the others count."""
    fields = ("optimizer.lr=1e-2,1e30", "model.adapter=null,{kind: oft}")
    found = CliRunner().invoke(app, arguments(recipe, tmp_path / "out", 4, fields))
    assert found.exit_code == 0, found.output
    assert "the loss is not finite" in found.output
    assert "PEFT rotates `torch.nn.Linear` only" in found.output
    assert "[4/4]" in found.output


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("optimizer.lrr=1,2", "did you mean `lr`"),
        ("optimizer.lr=-1..1", "greater than 0"),
        ("data.split={kind: leave_one_out},{kind: leave_one_out, refit: true}", "a refit has no"),
        ("optimizer.lr=1", "one value is no choice"),
    ],
)
def test_wrong_fields_are_refused_before_anything_is_trained(
    recipe: Path, tmp_path: Path, field: str, message: str
) -> None:
    found = CliRunner().invoke(app, arguments(recipe, tmp_path / "out", 4, (field,)))
    assert message in str(found.exception)
    assert not (tmp_path / "out").exists()
