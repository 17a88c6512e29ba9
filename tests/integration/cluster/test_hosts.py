"""torchrun over two hosts: a process dies; a host is lost, and comes back."""

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

TIMEOUT_S = 15
# the command torchrun, with the logging command in the place of `-m seqrec`
TORCHRUN = f"""#!{sys.executable}
import sys
from torch.distributed.run import main
words = sys.argv[1:]
at = words.index("-m")
main([*words[:at], {str(SCRIPT)!r}, *words[at + 2:]])
"""


class Job:
    """Runs of launch/torchrun.sh with the same words on every host.

    Args:
        place: with the recipe.
        meets: the host that keeps the rendezvous.
        name: of the run.
        nodes: how many hosts, or MIN:MAX.
    """

    def __init__(self, place: Workplace, meets: Host, name: str, nodes: str):
        self._folder, self._name = place.folder, name
        meeting = [f"--rdzv-endpoint={meets.name}:29400", "--rdzv-conf=last_call_timeout=2"]  # 30 by default
        self._words = [f"--nnodes={nodes}", *meeting, "recipe.yaml", f"name={name}", f"faults.timeout_s={TIMEOUT_S}"]
        self._consumed = place.folder / "consumed" / name
        self._consumed.mkdir(parents=True)
        self._running: dict[Host, subprocess.Popen[bytes]] = {}
        programs = place.folder / "bin"
        programs.mkdir()
        (programs / "torchrun").write_text(TORCHRUN)
        (programs / "torchrun").chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        self._environment = {"PATH": path, "OMP_NUM_THREADS": "1", "CONSUMED": str(self._consumed)}

    def start(self, host: Host, **environment: str) -> None:
        """On one host; a second time too."""
        words = [str(FILES / "torchrun.sh"), *self._words]
        environment = self._environment | environment
        self._running[host] = host.start(words, cwd=self._folder, log=self._log(host), **environment)

    def said(self, host: Host) -> str:
        """All that one host's processes have printed."""
        return self._log(host).read_text()

    def wait_for_word(self, word: str, host: Host, *, seconds: float) -> None:
        """Until one host's processes have printed it."""
        self._until(lambda: word in self.said(host), word, seconds)

    def wait_for_step(self, step: int, rank: int) -> None:
        """Until a rank has trained on a step."""
        line = f'"step": {step}, "rank": {rank}'
        self._until(lambda: any(line in file.read_text() for file in self._consumed.glob("*.jsonl")), line, 240)

    def go_on(self, step: int) -> None:
        """Ends the wait that HOLD asks for at this step."""
        (self._consumed / f"go-on-{step}").touch()

    def end(self, host: Host) -> int:
        """The exit status of torchrun on one host."""
        return self._running[host].wait(240)

    def group_starts(self) -> None:
        """Puts the logs of each start into a folder, as `Workplace` expects it: a later start begins later."""
        files = {file: json.loads(file.read_text().splitlines()[0])["step"] for file in self._consumed.glob("*.jsonl")}
        for file in self._consumed.glob("go-on-*"):
            file.unlink()
        for i, first in enumerate(sorted(set(files.values()))):
            (self._consumed / f"start-{i}").mkdir()
            for file in [file for file, step in files.items() if step == first]:
                file.rename(self._consumed / f"start-{i}" / file.name)

    def _log(self, host: Host) -> Path:
        return self._folder / f"{self._name}-{host.name}.log"

    def _until(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"no {what}\n" + "\n".join(map(self.said, self._running))
            time.sleep(0.2)


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
    job = Job(place, hosts[0], "killed", "2")
    job.start(hosts[0])
    job.start(hosts[1], KILL=f"0:{place.stream.n_steps + 4}:0")
    assert [job.end(host) for host in hosts] == [0, 0], job.said(hosts[0]) + job.said(hosts[1])
    job.group_starts()
    first, second = place.starts("killed")
    assert {line["rank"] for line in first} == {line["rank"] for line in second} == {0, 1}
    assert place.stream.n_steps < min(line["step"] for line in second) <= max(line["step"] for line in first)
    place.check_each_row_once("killed")
    place.fit("whole", 2)
    check_equal(place.weights("whole"), place.weights("killed"))


def test_a_host_that_is_cut_off_is_named_and_the_other_goes_on_until_it_is_back(
    hosts: tuple[Host, Host], place: Workplace
) -> None:
    """Nothing tells a host that the other one's cable is cut but its waiting for too long; both say whom they miss."""
    stays, leaves = hosts
    together, alone = place.stream.n_steps + 4, place.stream.n_steps + 7
    job = Job(place, stays, "elastic", "1:2")
    job.start(stays, HOLD=f"{together},{alone}")
    job.start(leaves)
    job.wait_for_step(together, rank=1)
    leaves.cut()
    job.go_on(together)
    for host, other, rank in ((stays, leaves, 1), (leaves, stays, 0)):
        job.wait_for_word(f"TrainingError: rank {rank} (host {other.name}, process ", host, seconds=TIMEOUT_S + 30)
    leaves.power_off()  # its torchrun has nothing to say until TCP gives up, a quarter of an hour later
    assert job.end(leaves) != 0
    job.wait_for_step(alone, rank=0)
    leaves.plug_in()
    job.start(leaves)  # the other is told to stop for it, and saves
    assert [job.end(host) for host in hosts] == [0, 0], job.said(stays) + job.said(leaves)
    job.group_starts()
    starts = place.starts("elastic")
    assert [{line["rank"] for line in start} for start in starts] == [{0, 1}, {0}, {0, 1}]
    assert max(line["step"] for line in starts[1]) + 1 == min(line["step"] for line in starts[2])
    place.check_each_row_once("elastic")
    place.weights("elastic")
