"""An environment that seqrec is not installed in, for programs of somebody else."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def foreign_environment(folder: Path) -> Path:
    """The python of a virtual environment with peft, transformers and safetensors, and what they need."""
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    constraint = ["--constraint", str(HERE.parent / "constraints.txt")]
    subprocess.run([*pip, *constraint, "torch"], check=True)
    subprocess.run([*pip, *constraint, "peft", "transformers", "safetensors"], check=True)
    return folder / "bin" / "python"


def said_elsewhere(python: Path, program: str, *arguments: Path) -> dict[str, Any] | str:
    """What a program of this folder prints last, as JSON; or its last word, where it ends with an error."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = [str(python), "-I", str(HERE / program), *map(str, arguments)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert not said["foreign"]
    return said
