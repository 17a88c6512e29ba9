"""A folder in which runs are started, killed, broken and continued, and what they consumed is compared.

What is consumed is logged by `logged_fit.py`. A step counts as done where a checkpoint holds it: those that a killed
run did after its last checkpoint are lost, and done again.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from seqrec.recipe import Run, build_data, parse_recipe
from seqrec.training import read_checkpoint

from .command import on_ranks

SCRIPT = Path(__file__).with_name("logged_fit.py")
Rows = dict[tuple[int, int], Counter[int]]  # (epoch, step) → how often each row was trained on


class Workplace:
    """A folder with a recipe and the runs of it.

    Args:
        folder: empty.
        values: the recipe.
    """

    def __init__(self, folder: Path, values: dict[str, Any]):
        self.folder = folder
        self.epochs: int = values["trainer"]["max_epochs"]
        self.stream = build_data(parse_recipe(values, where="test")).training
        (folder / "recipe.yaml").write_text(yaml.safe_dump(values))

    @property
    def n_steps(self) -> int:
        """Steps of the whole training."""
        return self.epochs * self.stream.n_steps

    def run(self, name: str) -> Run:
        """One of the runs."""
        return Run(self.folder / "runs" / name)

    def fit(
        self,
        name: str,
        ranks: int,
        *,
        kill: str = "",
        fault: str = "",
        survives: bool = False,
        overrides: Sequence[str] = (),
    ) -> str:
        """Starts or continues a run; what it said.

        Args:
            name: of the run.
            ranks: processes.
            kill: RANK[,RANK]:STEP:MICRO_BATCH, where ranks are killed.
            fault: KIND:STEP, what else happens to it; see `logged_fit.py`.
            survives: whether the run ends in spite of it.
            overrides: of the recipe.
        """
        consumed = self.folder / "consumed" / name
        start = consumed / f"start-{len(list(consumed.glob('start-*'))):03}"
        start.mkdir(parents=True)
        devices = [f"trainer.devices={ranks}", f"trainer.strategy={'ddp' if ranks > 1 else 'auto'}"]
        words = ["fit", "recipe.yaml", f"name={name}", *devices, *overrides]
        environment = {"CONSUMED": str(start), "KILL": kill, "FAULT": fault}
        breaks = bool(kill or fault) and not survives
        done = on_ranks(words, ranks, cwd=self.folder, check=not breaks, program=SCRIPT, **environment)
        if breaks:
            assert done.returncode != 0, done.stdout
            assert self.run(name).result is None
        return done.stderr

    def corrupt_newest(self, name: str) -> int:
        """Changes a byte of the newest checkpoint; its step."""
        newest = self.run(name).last
        with newest.state.open("r+b") as file:
            file.seek(newest.state.stat().st_size // 2)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 255]))
        return newest.step

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
        rows: Rows = {}
        end = self.n_steps
        for start in reversed(self.starts(name)):  # a later one may have gone back further than those before it
            for line in start:
                if line["step"] < end:
                    rows.setdefault((line["epoch"], line["step"]), Counter()).update(line["rows"])
            end = min([end, *(line["step"] for line in start)])
        return rows

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        """Of the end of training."""
        checkpoint = read_checkpoint(self.run(name).last.state)
        assert checkpoint["global_step"] == self.n_steps
        weights: dict[str, torch.Tensor] = checkpoint["state_dict"]
        return weights

    def check_each_row_once(self, name: str) -> None:
        """Raises AssertionError where a row was lost or repeated."""
        rows = self.committed(name)
        assert sorted(rows) == [(step // self.stream.n_steps, step) for step in range(self.n_steps)]
        for epoch in range(self.epochs):
            total = sum((counts for (e, _), counts in rows.items() if e == epoch), Counter())
            assert len(total) == self.stream.n_rows > 100
            assert set(total.values()) == {1}


def check_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Raises AssertionError where a bit differs."""
    assert one.keys() == other.keys()
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, rtol=0, atol=0, msg=name)
