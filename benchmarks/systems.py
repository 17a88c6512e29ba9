"""The systems that benchmarks compare, each a process of its own environment, and their common data.

    python benchmarks/systems.py --environments .peers

makes the environments of the peers; seqrec runs in the one that runs the benchmark.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from harness import RECIPES

from seqrec.recipe import ensure_store, load_recipe

ROOT = Path(__file__).parent.parent
PEERS = Path(__file__).parent / "peers"
ENVIRONMENTS = ROOT / ".peers"
OWN = "seqrec"


class System(NamedTuple):
    """Where a system's script lies, and whose environment runs it; None for this one."""

    name: str
    script: str
    environment: str | None
    sampled: bool  # whether it has a loss over sampled negatives


class Data(NamedTuple):
    """A data set: its recipe for each loss, and the sizes of the model on it."""

    recipes: dict[str, Path]
    blocks: int
    max_length: int


SYSTEMS = {
    system.name: system
    for system in (
        System(OWN, "own.py", None, sampled=True),
        System("RePlay", "replay/sasrec.py", "replay", sampled=True),
        System("RePlay, older SasRec", "replay/older_sasrec.py", "replay", sampled=True),
        System("RecTools", "rectools/sasrec.py", "rectools", sampled=True),
        System("RecBole", "recbole/sasrec.py", "recbole", sampled=False),
    )
}
NEGATIVES = {"full": 0, "sampled": 256}
DATA = {
    "amazon-beauty": Data(
        {"full": RECIPES / "amazon-beauty-causal.yaml", "sampled": RECIPES / "amazon-beauty-sampled.yaml"},
        blocks=1,
        max_length=50,
    ),
    "ml-1m": Data(dict.fromkeys(NEGATIVES, RECIPES / "ml-1m-causal.yaml"), blocks=2, max_length=200),
}
BLAS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # where a machine sets them, every system is left to its defaults


def make_environment(name: str, folder: Path) -> None:
    """Makes a peer's environment, or finds it made from the same requirements."""
    requirements, home = PEERS / name / "requirements.txt", folder / name
    made = home / "requirements.txt"
    if made.is_file() and made.read_text() == requirements.read_text():
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    pip = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", str(requirements)], check=True)
    made.write_text(requirements.read_text())


def add_choice(parser: argparse.ArgumentParser) -> None:
    """The options of every comparison."""
    parser.add_argument("--systems", choices=list(SYSTEMS), nargs="+", default=list(SYSTEMS))
    parser.add_argument("--datasets", choices=list(DATA), nargs="+", default=list(DATA))
    parser.add_argument("--losses", choices=list(NEGATIVES), nargs="+", default=list(NEGATIVES))
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each system")
    parser.add_argument("--folder", type=Path, default=ENVIRONMENTS, help="of the peers' environments, and for files")
    parser.add_argument("--fresh", action="store_true", help="measures again what was measured today")


def offers(system: str, loss: str) -> bool:
    """Whether the system has such a loss."""
    return NEGATIVES[loss] == 0 or SYSTEMS[system].sampled


def find(rows: list[dict[str, Any]], data: str, loss: str, system: str) -> dict[str, Any] | None:
    """The row of a combination."""
    keys = {"data": data, "loss": loss, "system": system}
    return next((row for row in rows if keys.items() <= row.items()), None)


def sequences_file(data: str, folder: Path) -> Path:
    """Where `write_sequences` puts a data set."""
    return folder / "data" / f"{data}.npz"


def write_sequences(data: str, folder: Path) -> Path:
    """Writes the behaviour sequences of a data set as every system reads them; its store is prepared where missing."""
    store = ensure_store(load_recipe(DATA[data].recipes["full"]))
    file = sequences_file(data, folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    parts = list(store.scan(("items",)))
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    items = np.concatenate([part.items for part in parts])
    np.savez(file, items=items, offsets=np.append(0, lengths.cumsum()), n_items=store.manifest.counts.items)
    return file


class Worker:
    """A system's process: obeys, one order at a time, and is silent between orders.

    Args:
        system: which.
        data: name of the data set.
        loss: full or sampled.
        threads: of its torch.
        folder: of environments and data.
    """

    def __init__(self, system: System, data: str, loss: str, *, threads: int, folder: Path):
        self._name = system.name
        self._folder = (folder / "runs" / f"{data}-{loss}-{re.sub(r'[^a-z]+', '-', system.name.lower())}").resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        own = system.environment is None
        hidden = BLAS if own else (*BLAS, "PYTHONPATH")
        environment = {key: value for key, value in os.environ.items() if key not in hidden}
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        python = sys.executable if system.environment is None else folder.resolve() / system.environment / "bin/python"
        command = [
            str(python), str(PEERS / "worker.py"), system.script,
            "--data", str(sequences_file(data, folder).resolve()),
            "--recipe", str(DATA[data].recipes[loss]),
            "--negatives", str(NEGATIVES[loss]),
            "--blocks", str(DATA[data].blocks),
            "--max-length", str(DATA[data].max_length),
            "--folder", str(self._folder),
        ]  # fmt: skip
        self._log = (self._folder / "log.txt").open("w")
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._log}
        # peers leave files where they run; recipes name stores from where benchmarks run
        self._process = subprocess.Popen(
            command, env=environment, cwd=None if own else self._folder, text=True, **pipes
        )
        self.ready = self._next("ready")

    def epoch(self) -> dict[str, Any]:
        """Trains one; seconds, and the share of an epoch that they are of."""
        return self._ask("epoch", do="epoch")

    def lists(self, part: str) -> tuple[np.ndarray, dict[str, Any]]:
        """int32 (U, 10) items of each user, and seconds."""
        file = self._folder / "lists.npy"
        event = self._ask("lists", do="lists", part=part, to=str(file))
        return np.load(file), event

    def _ask(self, event: str, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._next(event)

    def _next(self, event: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            tail = "\n".join((self._folder / "log.txt").read_text().splitlines()[-15:])
            raise SystemExit(f"{self._name} ended with {self._process.returncode}:\n{tail}")
        said: dict[str, Any] = json.loads(line)
        assert said.pop("event") == event
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._log.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS)
    folder = parser.parse_args().environments
    for name in sorted({system.environment for system in SYSTEMS.values() if system.environment}):
        started = time.monotonic()
        make_environment(name, folder)
        print(f"{folder / name}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
