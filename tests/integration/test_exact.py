"""Training in real processes that are killed and go on: each row once, and the same weights.

What is consumed is logged by `logged_fit.py`. A step counts as done where a checkpoint holds it: those that a killed
run did after its last checkpoint are lost, and done again.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from seqrec.recipe import Run, build_data, parse_recipe
from seqrec.training import read_checkpoint

from .command import run

SCRIPT = Path(__file__).with_name("logged_fit.py")
EPOCHS = 3
Rows = dict[tuple[int, int], Counter[int]]  # (epoch, step) → how often each row was trained on


class Workplace:
    """A folder with a recipe and the runs of it.

    Args:
        folder: empty.
        values: the recipe.
    """

    def __init__(self, folder: Path, values: dict[str, Any]):
        self.folder = folder
        self.stream = build_data(parse_recipe(values, where="test")).training
        (folder / "recipe.yaml").write_text(yaml.safe_dump(values))

    def fit(self, name: str, ranks: int, *, kill: str = "") -> None:
        """Starts or continues a run, killed where ``kill`` says: RANK[,RANK]:STEP:MICRO_BATCH."""
        consumed = self.folder / "consumed" / name
        start = consumed / f"start-{len(list(consumed.glob('start-*')))}"
        start.mkdir(parents=True)
        devices = [f"trainer.devices={ranks}", f"trainer.strategy={'ddp' if ranks > 1 else 'auto'}"]
        command = [sys.executable, str(SCRIPT), "fit", "recipe.yaml", f"name={name}", *devices]
        environment = {"OMP_NUM_THREADS": "1", "CONSUMED": str(start), "KILL": kill}
        done = run(command, cwd=self.folder, check=not kill, **environment)
        if kill:
            assert done.returncode != 0, done.stdout
            assert not (self.folder / "runs" / name / "result.json").exists()

    def copy(self, name: str, new: str) -> None:
        """A second run that has come as far as the first."""
        shutil.copytree(self.folder / "runs" / name, self.folder / "runs" / new)
        recipe = self.folder / "runs" / new / "recipe.yaml"
        recipe.write_text(recipe.read_text().replace(f"name: {name}", f"name: {new}"))
        shutil.copytree(self.folder / "consumed" / name, self.folder / "consumed" / new)

    def starts(self, name: str) -> list[list[dict[str, Any]]]:
        """What was logged, by start of the run."""
        folders = sorted((self.folder / "consumed" / name).iterdir())
        return [[json.loads(line) for f in d.iterdir() for line in f.read_text().splitlines()] for d in folders]

    def committed(self, name: str) -> Rows:
        """What the steps consumed that the final weights are made of."""
        starts = self.starts(name)
        ends = [min(line["step"] for line in start) for start in starts[1:]] + [EPOCHS * self.stream.n_steps]
        rows: Rows = {}
        for start, end in zip(starts, ends, strict=True):
            for line in start:
                if line["step"] < end:
                    rows.setdefault((line["epoch"], line["step"]), Counter()).update(line["rows"])
        return rows

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        """Of the end of training."""
        checkpoint = read_checkpoint(Run(self.folder / "runs" / name).last.state)
        assert checkpoint["global_step"] == EPOCHS * self.stream.n_steps
        return checkpoint["state_dict"]


@pytest.fixture
def make(recipe_values: dict[str, Any], store_in_units: Path, tmp_path: Path) -> Callable[..., Workplace]:
    """Workplaces of recipes with ten steps an epoch, that save after every third."""

    def workplace(partitions: int, *, precision: str = "32-true") -> Workplace:
        backbone = recipe_values["model"]["backbone"] | {"dropout": 0.2}
        data = {"store": str(store_in_units), "partitions": partitions, "step_tokens": 150}
        values = recipe_values | {
            "data": recipe_values["data"] | data,
            "model": recipe_values["model"] | {"backbone": backbone},
            "selection": {"patience": None, "save_every_steps": 3},
            "trainer": recipe_values["trainer"] | {"max_epochs": EPOCHS, "precision": precision},
        }
        return Workplace(tmp_path, values)

    return workplace


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, rtol=0, atol=0, msg=name)


def each_row_once(place: Workplace, name: str) -> None:
    rows = place.committed(name)
    assert sorted(rows) == [(step // place.stream.n_steps, step) for step in range(EPOCHS * place.stream.n_steps)]
    for epoch in range(EPOCHS):
        total = sum((counts for (e, _), counts in rows.items() if e == epoch), Counter())
        assert len(total) == place.stream.n_rows > 100
        assert set(total.values()) == {1}


@pytest.mark.parametrize(("partitions", "kill"), [(1, "1"), (4, "0,1")])
def test_killed_on_two_ranks_and_continued_on_one_two_and_three(
    make: Callable[..., Workplace], partitions: int, kill: str
) -> None:
    """With dropout; on two ranks the weights equal those of a run that nobody killed, bit for bit."""
    place = make(partitions)
    stop = place.stream.n_steps + 4  # within the second epoch, where neither rank can have saved in this step
    assert (stop + 1) % 3
    place.fit("killed", 2, kill=f"{kill}:{stop}:0")
    for ranks in (1, 2, 3):
        place.copy("killed", f"on{ranks}")
        place.fit(f"on{ranks}", ranks)
        first = min(line["step"] for line in place.starts(f"on{ranks}")[1])
        assert place.stream.n_steps < first <= stop  # it went on within the epoch, and lost some steps
        each_row_once(place, f"on{ranks}")
    place.fit("whole", 2)
    assert place.committed("whole") == place.committed("on1") == place.committed("on2") == place.committed("on3")
    equal(place.weights("whole"), place.weights("on2"))
    with pytest.raises(AssertionError):  # the comparison can fail: three ranks sum in another order
        equal(place.weights("whole"), place.weights("on3"))


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_killed_run_ends_with_the_same_bits(make: Callable[..., Workplace], ranks: int) -> None:
    """On three ranks the order in which gradients are summed must not depend on when a process started."""
    place = make(1)
    place.fit("whole", ranks)
    place.fit("killed", ranks, kill=f"0:{place.stream.n_steps + 5}:0")
    place.fit("killed", ranks)
    equal(place.weights("whole"), place.weights("killed"))


def test_across_numbers_of_ranks_weights_agree_in_float64(make: Callable[..., Workplace]) -> None:
    """Killed twice: on two ranks, whose steps have two micro-batches, and on three, between two micro-batches.

    With dropout, whose masks belong to the row.
    """
    place = make(4, precision="64-true")
    place.fit("whole", 1)
    place.fit("moved", 2, kill=f"0:{place.stream.n_steps // 2}:1")
    place.fit("moved", 3, kill=f"2:{2 * place.stream.n_steps - 2}:0")
    place.fit("moved", 1)
    each_row_once(place, "moved")
    moved = place.weights("moved")
    for name, weight in place.weights("whole").items():
        difference, norm = float((moved[name] - weight).norm()), float(weight.norm())
        assert difference <= 1e-9 * norm, f"{name}: {difference} of {norm}"
