"""Peak memory of one training, for benchmarks/plan.py; Lightning starts this file again for every further rank.

python benchmarks/plan_peaks.py VALUES.json FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from seqrec.recipe import build, parse_recipe

STEPS = 2  # the second is like all later ones: optimizer states are there


class PeakMemory(Callback):
    """Writes a rank's peak of resident memory after some steps, before checkpoints are saved.

    Args:
        base: bytes resident before anything was built.
        folder: where the figures go.
    """

    def __init__(self, base: int, folder: Path):
        self._base = base
        self._folder = folder

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == STEPS:
            peak = resident("VmHWM") - self._base
            (self._folder / f"{trainer.global_rank}.json").write_text(json.dumps(peak))


def resident(field: str) -> int:
    """Bytes, as `/proc/self/status` has them: `VmRSS` now, `VmHWM` the most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def main() -> None:
    values, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    recipe = parse_recipe(values, where=sys.argv[1])
    if recipe.trainer["strategy"].startswith("deepspeed"):
        import deepspeed  # noqa: F401  # what a package takes is not what training takes
    base = resident("VmRSS")
    trainer, module, data = build(recipe, folder / "run")
    trainer.callbacks.append(PeakMemory(base, folder))
    trainer.fit(module, data)


if __name__ == "__main__":
    main()
