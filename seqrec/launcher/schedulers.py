"""The commands that start a recipe through the scripts of launch/."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from seqrec.errors import LaunchError
from seqrec.launcher.command import FILES, Command
from seqrec.launcher.shape import Shape


def torchrun(recipe: Path, overrides: Sequence[str], shape: Shape, options: Sequence[str]) -> Command:
    """This machine's part of a run; the same command is for every machine.

    Args:
        recipe: the recipe's file.
        overrides: `dotted.path=value`.
        shape: nodes and processes.
        options: further ones of torchrun, as `--rdzv-endpoint=HOST:29400`.
    Raises:
        LaunchError: several machines, and nothing says where they meet.
    """
    if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", shape.nodes):
        raise LaunchError(f"--nodes {shape.nodes} is neither a number nor MIN:MAX")
    if shape.nodes != "1" and not any(option.startswith("--rdzv-endpoint=") for option in options):
        raise LaunchError(
            f"--nodes is {shape.nodes}, and nothing says where they meet",
            do="give the name of one of the machines and a free port: --option=--rdzv-endpoint=HOST:29400",
        )
    script = FILES / "torchrun.sh"
    numbers = [f"--nnodes={shape.nodes}", f"--nproc-per-node={shape.devices}"]
    return Command(["bash", str(script), *numbers, *options, str(recipe), *overrides], script)


def slurm(recipe: Path, overrides: Sequence[str], shape: Shape, options: Sequence[str], *, name: str) -> Command:
    """The submission of a job to Slurm.

    Args:
        recipe: the recipe's file.
        overrides: `dotted.path=value`.
        shape: nodes and processes.
        options: further ones of sbatch, as `--time=4:00:00` or `--array=0-4`.
        name: of the job.
    Raises:
        LaunchError: the number of nodes is no number.
    """
    script = FILES / "slurm.sbatch"
    numbers = [f"--nodes={shape.fixed_nodes('Slurm')}", f"--ntasks-per-node={shape.devices}"]
    if shape.gpus:
        numbers.append(f"--gpus-per-node={shape.devices}")
    return Command(["sbatch", f"--job-name={name}", *numbers, *options, str(script), str(recipe), *overrides], script)
