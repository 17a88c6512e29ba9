"""Jobs of a real Slurm of two nodes, in mid-epoch requeued by hand and told of the time limit."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seqrec.launcher import FILES

from ..workplace import SCRIPT, Workplace, check_equal
from . import require
from .slurm import Slurm, missing, slurm

# the command of the jobs, in the place of the installed one, with a folder of its log for each start
SEQREC = f"""#!/bin/sh
export CONSUMED="$CONSUMED/start-${{SLURM_RESTART_COUNT:-0}}"
mkdir -p "$CONSUMED"
[ -z "$SLURM_RESTART_COUNT" ] || unset HOLD
exec {sys.executable} {SCRIPT} "$@"
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Slurm]:
    require("slurm", missing())
    (tmp_path / "slurm").mkdir()
    with slurm(tmp_path / "slurm") as running:
        yield running


def test_jobs_that_are_stopped_in_mid_epoch_resume_by_themselves_and_end_with_the_same_bits(
    cluster: Slurm, make: Callable[..., Workplace], tmp_path: Path
) -> None:
    place = make(1)
    hold = place.stream.n_steps + 4
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/seqrec").write_text(SEQREC)
    (tmp_path / "bin/seqrec").chmod(0o755)
    # the nodes are daemons of this machine, and their names those of nobody
    environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}

    def submit(name: str, *options: str, words: tuple[str, ...] = (), **more: str) -> str:
        consumed = place.folder / "consumed" / name
        consumed.mkdir(parents=True)
        command = ["sbatch", "--nodes=2", "--ntasks-per-node=1", *options, FILES / "slurm.sbatch", "recipe.yaml"]
        said = cluster.run(*command, *words, cwd=place.folder, CONSUMED=str(consumed), **environment, **more)
        return said.split()[-1]

    limited = submit(
        "limited", "--time=60", "--signal=B:USR1@600", words=("name=limited", "trainer.num_nodes=2"), HOLD=str(hold)
    )
    requeued = submit("requeued", words=("name=requeued",), HOLD=str(hold))
    whole = submit("tiny-seed1", "--array=1")

    held(place, "requeued", step=hold)
    cluster.run("scontrol", "requeue", requeued)
    held(place, "limited", step=hold)
    cluster.run("scontrol", "update", f"JobId={limited}", "TimeLimit=10")
    cluster.wait_for_requeue(limited, seconds=120)
    cluster.run("scontrol", "update", f"JobId={limited}", "TimeLimit=60")
    cluster.wait(limited, requeued, f"{whole}_1", seconds=400)

    place.check_each_row_once("tiny-seed1")
    for name, job in (("requeued", requeued), ("limited", limited)):
        assert cluster.state(job)["Restarts"] == "1"
        output = (place.folder / f"seqrec-{job}.out").read_text()
        assert "PreemptedError: told to stop, and saved after step" in output
        first, second = place.starts(name)
        assert {line["rank"] for line in first} == {line["rank"] for line in second} == {0, 1}
        # it went on within the epoch, where the first start had stopped, and did nothing twice
        assert place.stream.n_steps < min(line["step"] for line in second) == 1 + max(line["step"] for line in first)
        place.check_each_row_once(name)
        check_equal(place.weights("tiny-seed1"), place.weights(name))


def held(place: Workplace, name: str, *, step: int) -> None:
    """Waits until a run holds at a step."""
    deadline = time.monotonic() + 300
    while not any(f'"step": {step},' in log.read_text() for log in (place.folder / "consumed" / name).rglob("*.jsonl")):
        outputs = "\n".join(output.read_text() for output in place.folder.glob("*.out"))
        assert time.monotonic() < deadline, outputs
        time.sleep(0.5)
