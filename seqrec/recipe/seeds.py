"""One recipe with several seeds: trained in turn, then evaluated together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from seqrec.errors import UnsupportedError
from seqrec.evaluation import Comparison
from seqrec.recipe.compare import check_comparable, compare_runs
from seqrec.recipe.fitting import fit
from seqrec.recipe.load import with_seed
from seqrec.recipe.processes import launched
from seqrec.recipe.schema import Recipe


def fit_seeds(recipe: Recipe, seeds: Sequence[int], *, runs: str | Path = "runs", fresh: bool = False) -> Comparison:
    """Trains a recipe with each seed, as runs NAME-seedN of their own, and compares them on the test targets.

    Runs that have ended are not trained again, so that the same call continues where it was interrupted.

    Args:
        recipe: what to train.
        seeds: all different.
        runs: parent of run folders.
        fresh: throws away what their folders hold.
    Raises:
        UnsupportedError: the recipe trains on several processes, which end with each training; or its runs cannot be
            compared.
        Others: as `fit` and `compare_runs`.
    """
    check_comparable(recipe)
    if _on_several_processes(recipe):
        raise UnsupportedError(
            f"{len(seeds)} seeds are trained in turn by one process, and this recipe takes several",
            where="--seed",
            do="give each seed a command of its own, or start an array: `seqrec launch slurm`, `--option=--array=0-4`; "
            "then compare them with `seqrec compare`",
        )
    folders = [fit(with_seed(recipe, seed), runs=runs, fresh=fresh).folder for seed in dict.fromkeys(seeds)]
    return compare_runs(folders, accelerator=recipe.trainer.get("accelerator", "auto"))


def _on_several_processes(recipe: Recipe) -> bool:
    devices = recipe.trainer.get("devices", "auto")
    if devices in ("auto", -1):
        devices = 1 if recipe.trainer.get("accelerator", "auto") == "cpu" else max(1, torch.cuda.device_count())
    number = len(devices) if isinstance(devices, list) else int(devices)
    return launched() is not None or number * int(recipe.trainer.get("num_nodes", 1)) > 1
