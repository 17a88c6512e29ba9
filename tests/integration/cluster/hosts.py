"""Two hosts with a name and an address of their own on this machine: network namespaces joined by a cable."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

INTERFACE = "eth0"
NAMES = Path("/etc/netns")  # what lies here under a namespace's name, `ip netns exec` lays over /etc


def missing() -> str | None:
    """What this machine lacks for it; None where it can be made."""
    if shutil.which("ip") is None:
        return "no ip: apt-get install iproute2"
    if os.geteuid() != 0:
        return "network namespaces need root"
    probe = f"probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", probe], check=True)
    return None


class Host:
    """One of the two.

    Args:
        number: 1 or 2.
    """

    def __init__(self, number: int):
        self.name = f"host{number}-{os.getpid()}"
        self.address = f"10.99.0.{number}"

    def start(self, words: list[str], *, cwd: Path, log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a command there, in a session of its own, with its output at the end of a file."""
        inside = ["ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"']
        changed = os.environ | environment
        with log.open("ab") as output:
            return subprocess.Popen(
                [*inside, self.name, *words], cwd=cwd, env=changed, stdout=output, stderr=output, start_new_session=True
            )

    def cut(self) -> None:
        """Takes the cable out of it."""
        self._ip("link", "set", INTERFACE, "down")

    def plug_in(self) -> None:
        """Puts the cable back."""
        self._ip("link", "set", INTERFACE, "up")

    def power_off(self) -> None:
        """Ends all that runs there, at once."""
        inside = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True).stdout.split()
        for process in map(int, inside):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", "-n", self.name, *words], check=True, capture_output=True)


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Both, as long as the context lasts."""
    hosts = Host(1), Host(2)
    try:
        names = "".join(f"{host.address} {host.name}\n" for host in hosts)
        for host in hosts:
            subprocess.run(["ip", "netns", "add", host.name], check=True)
            (NAMES / host.name).mkdir(parents=True)
            (NAMES / host.name / "hosts").write_text("127.0.0.1 localhost\n" + names)
        ends = [word for host in hosts for word in ("netns", host.name)]
        subprocess.run(
            ["ip", "link", "add", INTERFACE, *ends[:2], "type", "veth", "peer", "name", INTERFACE, *ends[2:]],
            check=True,
        )
        for host in hosts:
            host._ip("address", "add", f"{host.address}/24", "dev", INTERFACE)
            host.plug_in()
            host._ip("link", "set", "lo", "up")
        yield hosts
    finally:
        for host in hosts:
            host.power_off()
            subprocess.run(["ip", "netns", "delete", host.name], check=False)
            shutil.rmtree(NAMES / host.name, ignore_errors=True)
