"""The `seqrec` command in a process that has imported it already, for `command.seqrec`, which gives it `ARGUMENTS`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from seqrec.cli import main


def run(words: list[str], folder: Path, threads: int, environment: dict[str, str], outputs: list[Path]) -> None:
    for number, file in enumerate(outputs, 1):  # stdout and stderr
        with file.open("w") as output:
            os.dup2(output.fileno(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(threads)
    sys.argv = ["seqrec", *words]
    main()


run(*globals()["ARGUMENTS"])
