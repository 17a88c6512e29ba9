"""torchrun over two hosts: a process dies, a host is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seqrec.launcher import FILES

from ..workplace import SCRIPT, Workplace, check_equal
from . import require
from .hosts import Host, missing, two_hosts

TIMEOUT_S = 10
# the command torchrun, with the logging command in the place of `-m seqrec`
TORCHRUN = f"""#!{sys.executable}
import sys
from torch.distributed.run import main
words = sys.argv[1:]
at = words.index("-m")
main([*words[:at], {str(SCRIPT)!r}, *words[at + 2:]])
"""


class Job:
    """A run of launch/torchrun.sh on both hosts.

    Args:
        place: with the recipe.
        hosts: the first keeps the rendezvous.
        name: of the run.
    """

    def __init__(self, place: Workplace, hosts: tuple[Host, Host], name: str):
        self._place, self._hosts, self._name = place, hosts, name
        self.consumed = place.folder / "consumed" / name
        self.consumed.mkdir(parents=True)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *options: str, kill: str = "", hold: str = "") -> None:
        """On both hosts; ``kill`` on the second, ``hold`` on the first."""
        bin_folder = self._place.folder / "bin"
        bin_folder.mkdir(exist_ok=True)
        (bin_folder / "torchrun").write_text(TORCHRUN)
        (bin_folder / "torchrun").chmod(0o755)
        common = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "CONSUMED": str(self.consumed)}
        meeting = f"--rdzv-endpoint={self._hosts[0].address}:29400"
        words = [*options, meeting, "--rdzv-conf=last_call_timeout=2"]
        for host, own in zip(self._hosts, ({"HOLD": hold}, {"KILL": kill}), strict=True):
            command = [
                *words,
                f"--local-addr={host.address}",
                "recipe.yaml",
                f"name={self._name}",
                f"faults.timeout_s={TIMEOUT_S}",
            ]
            self.processes.append(
                host.start(
                    [str(FILES / "torchrun.sh"), *command],
                    cwd=self._place.folder,
                    log=self.log(host),
                    **common,
                    **own,
                )
            )

    def log(self, host: Host) -> Path:
        return self._place.folder / f"{self._name}-{host.name}.log"

    def group_starts(self) -> None:
        """Puts the logs of each start into a folder, as `Workplace` expects it: a later start begins later."""
        files = {file: json.loads(file.read_text().splitlines()[0])["step"] for file in self.consumed.glob("*.jsonl")}
        (self.consumed / "go-on").unlink(missing_ok=True)
        for i, first in enumerate(sorted(set(files.values()))):
            (self.consumed / f"start-{i}").mkdir()
            for file in [file for file, step in files.items() if step == first]:
                file.rename(self.consumed / f"start-{i}" / file.name)


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    require("hosts", missing())
    with two_hosts() as both:
        yield both


@pytest.fixture
def place(make: Callable[..., Workplace]) -> Workplace:
    return make(2)


def test_a_process_that_is_killed_restarts_all_and_the_weights_are_the_same(
    hosts: tuple[Host, Host], place: Workplace
) -> None:
    job = Job(place, hosts, "killed")
    job.start("--nnodes=2", kill=f"0:{place.stream.n_steps + 4}:0")
    codes = [process.wait(240) for process in job.processes]
    assert codes == [0, 0], job.log(hosts[0]).read_text() + job.log(hosts[1]).read_text()
    job.group_starts()
    first, second = place.starts("killed")
    assert {line["rank"] for line in first} == {line["rank"] for line in second} == {0, 1}
    assert place.stream.n_steps < min(line["step"] for line in second) <= max(line["step"] for line in first)
    place.check_each_row_once("killed")
    place.fit("whole", 2)
    check_equal(place.weights("whole"), place.weights("killed"))


def test_a_host_that_is_lost_is_named_and_the_other_goes_on(hosts: tuple[Host, Host], place: Workplace) -> None:
    """Its cable is cut: nothing tells the other host so but that it waits for too long."""
    job = Job(place, hosts, "alone")
    hold = place.stream.n_steps + 4
    job.start("--nnodes=1:2", hold=str(hold))
    deadline = time.monotonic() + 300
    while not any(f'"step": {hold}, "rank": 1' in log.read_text() for log in job.consumed.glob("*.jsonl")):
        assert time.monotonic() < deadline, job.log(hosts[0]).read_text()
        time.sleep(0.2)
    hosts[1].cut()
    (job.consumed / "go-on").touch()
    cut = time.monotonic()
    while "TrainingError" not in job.log(hosts[0]).read_text():
        assert time.monotonic() < cut + TIMEOUT_S + 30, job.log(hosts[0]).read_text()
        time.sleep(0.2)
    assert f"rank 1 (host {hosts[1].name}, process " in job.log(hosts[0]).read_text()
    assert job.processes[0].wait(240) == 0, job.log(hosts[0]).read_text()
    assert job.processes[1].wait(120) != 0
    job.group_starts()
    assert {line["rank"] for line in place.starts("alone")[1]} == {0}
    place.check_each_row_once("alone")
    place.weights("alone")
