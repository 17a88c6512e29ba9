"""The `seqrec` command in a process that has imported it already, for `command`, which gives it `ARGUMENTS`."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_only

from seqrec.cli import main


def run(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], outputs: Sequence[Path], program: Path | None
) -> None:
    for number, file in enumerate(outputs, 1):  # stdout and stderr
        with file.open("w") as output:
            os.dup2(output.fileno(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    rank_zero_only.rank = int(environment.get("LOCAL_RANK", 0))  # which is read when Lightning is imported
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))  # which is read when torch is imported
    sys.argv = [str(Path(sys.executable).with_name("seqrec")), *words]  # by which Lightning starts further ranks
    if program is None:
        main()
    else:
        runpy.run_path(str(program), run_name="__main__")


run(*globals()["ARGUMENTS"])
