"""What importing costs: `seqrec --help` needs no torch, and preparing logs does not either."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "lightning", "transformers", "peft", "duckdb", "pyarrow", "matplotlib", "wandb")


def loaded(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after running ``code``."""
    program = f"{code}\nimport sys\nprint('loaded', *{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["evaluate", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    run = "try:\n    main()\nexcept SystemExit:\n    pass"
    code = f"import sys\nsys.argv = {['seqrec', *arguments]}\nfrom seqrec.cli import main\n{run}"
    modules = loaded(code)
    assert "typer" in modules
    assert not modules.intersection(HEAVY)


@pytest.mark.parametrize("package", ["seqrec.logs", "seqrec.store", "seqrec.simulate"])
def test_data_preparation_loads_no_torch(package: str) -> None:
    modules = loaded(f"import {package}")
    assert "numpy" in modules
    assert not modules.intersection({"torch", "lightning", "transformers"})


def test_importing_the_package_loads_nothing() -> None:
    assert not loaded("import seqrec").intersection({*HEAVY, "numpy", "pydantic"})


def test_importing_sets_nothing_in_the_environment() -> None:
    code = (
        "import os\nbefore = dict(os.environ)\nimport seqrec.models, seqrec.stream, seqrec.logs\n"
        "changed = {n for n in {*before, *os.environ} if before.get(n) != os.environ.get(n)}\n"
        "assert not {n for n in changed if not n.startswith(('KMP', 'TORCH', 'PYTORCH'))}, changed"
    )
    loaded(code)
