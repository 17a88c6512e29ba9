"""A Slurm of its own on this machine: one controller, and two nodes that are daemons with a port each."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "scontrol")
# a requeued job starts when its old credential has expired: after two minutes by default, five seconds at least
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
JobRequeue=1
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """What this machine lacks for it; None where it can be started."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        return f"no {', '.join(lacking)}: apt-get install slurmctld slurmd slurm-client munge"
    return None if os.geteuid() == 0 else "Slurm's daemons need root"


class Slurm:
    """A running cluster.

    Args:
        folder: its configuration and logs.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def run(self, *words: str | Path, cwd: Path | None = None, **environment: str) -> str:
        """The output of one of Slurm's commands."""
        changed = os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf")} | environment
        done = subprocess.run([str(w) for w in words], cwd=cwd, env=changed, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def state(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says."""
        words = self.run("scontrol", "show", "job", "--oneliner", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait_for_requeue(self, job: str, *, seconds: float) -> None:
        """Until a job has gone back to the queue."""
        _until(lambda: self.state(job)["Restarts"] != "0", f"requeue of job {job}", seconds)

    def wait(self, *jobs: str, seconds: float) -> None:
        """Until they have ended well."""
        deadline = time.monotonic() + seconds
        while states := {job: self.state(job) for job in jobs}:
            now = {job: state["JobState"] for job, state in states.items()}
            if set(now.values()) == {"COMPLETED"}:
                return
            assert not {"FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL"} & set(now.values()), now
            assert time.monotonic() < deadline, now
            time.sleep(0.5)


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """A cluster whose nodes are up, as long as the context lasts."""
    host = socket.gethostname().partition(".")[0]
    (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, host=host, ports=_free_ports(3)))
    cluster = Slurm(folder)
    key, socket_file = folder / "munge.key", folder / "munge.socket"
    subprocess.run(["mungekey", "--create", f"--keyfile={key}"], check=True)
    files = [f"--{name}={folder}/munge.{name[:3]}" for name in ("pid-file", "log-file", "seed-file")]
    with ExitStack() as daemons:
        # --force: it would refuse the folder of a test, which others may write into
        munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={socket_file}", *files]
        daemons.enter_context(_daemon("munged", munged, folder))
        _until(socket_file.exists, "munged")
        daemons.enter_context(_daemon("slurmctld", ["slurmctld", "-D"], folder))
        for node in ("node1", "node2"):
            daemons.enter_context(_daemon(node, ["slurmd", "-D", "-N", node], folder))
        _until(lambda: cluster.run("sinfo", "-h", "-o", "%T %D").strip() == "idle 2", "two idle nodes")
        try:
            yield cluster
        finally:  # tasks would outlive the daemons
            cluster.run("scancel", "--full", "--signal=KILL", "--user=root")
            _until(lambda: not cluster.run("squeue", "-h", "--states=R,CG"), "end of all jobs")


@contextmanager
def _daemon(name: str, words: list[str], folder: Path) -> Iterator[None]:
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except AssertionError:  # a command of a daemon that is not up yet
            pass
        assert time.monotonic() < deadline, f"no {what} within {seconds} s"
        time.sleep(0.2)


def _free_ports(n: int) -> list[int]:
    with ExitStack() as sockets:
        bound = [sockets.enter_context(socket.socket()) for _ in range(n)]
        for one in bound:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in bound]
