"""When a collective fails: which rank is missing, where it stands, and an end of all processes in time.

Every rank keeps a thread that looks once in a while whether a roll call has begun. A rank whose collective fails, since
it waited too long or lost a connection, begins one and waits a few seconds for the others. Those that fail with it
answer that they wait; one that hangs is asked through its thread, and answers with its stack; one that has died, or
whose host is cut off, does not answer. So one mechanism serves a hung rank, a dead one and an unreachable host.
Nothing is sent while all goes well but that look.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch.distributed as dist
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from seqrec.errors import PreemptedError, SeqrecError, TrainingError

PERIOD_S = 0.5  # between two looks of a thread
GRACE_S = 5.0  # that ranks have to answer a roll call
_ROLL_CALL = "roll call"
_WAITS = "waits"
_FRAMES = 12  # of a stack, the innermost ones
# in errors of gloo, which has no class for them: most name its source file, but not a collective's whose connection
# gloo closed because another one waited on it for too long
_GLOO = ("gloo", "Application timeout caused pair closure")


class Peer(NamedTuple):
    """Where a rank runs."""

    rank: int
    host: str
    pid: int

    def __str__(self) -> str:
        return f"rank {self.rank} (host {self.host}, process {self.pid})"

    @property
    def has_ended(self) -> bool:
        """Whether its process is known to be gone; only this host's are."""
        if self.host != socket.gethostname():
            return False
        try:
            status = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return True
        return status.rpartition(")")[2].split()[0] == "Z"  # ended, and its parent has not asked yet


class RankWatch(Callback):
    """Turns a failed collective into a `TrainingError` that names the missing ranks, with their stacks.

    `Trainer.fit` still raises what failed, with the error as its note; `error` holds it for who called. A rank that
    others have given up on ends its process by itself, so that no rank is left behind.
    """

    def __init__(self) -> None:
        self.error: TrainingError | None = None
        self._meeting: Meeting | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit" and dist.is_available() and dist.is_initialized() and trainer.world_size > 1:
            self._meeting = Meeting.open()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self._meeting is not None:
            self._meeting.leave()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if self._meeting is None:
            return
        launcher = trainer.strategy.launcher
        if isinstance(launcher, _SubprocessScriptLauncher):
            _spare_this_process()
        if isinstance(exception, PreemptedError):  # all ranks end at the same step, and none is missing
            self._meeting.leave()
            return
        if is_collective_failure(exception):
            self.error = self._meeting.call_roll(exception)
            exception.add_note(str(self.error))
        else:
            self._meeting.tell(exception)
        if isinstance(launcher, _SubprocessScriptLauncher):
            launcher.kill(signal.SIGKILL)


def _spare_this_process() -> None:
    """Lightning kills the process that started the others once one of them has ended, before it could say why."""
    for thread in threading.enumerate():
        if isinstance(thread, _ChildProcessObserver):
            thread._child_processes = []


def is_collective_failure(exception: BaseException) -> bool:
    """Whether a rank failed because of another one."""
    return isinstance(exception, dist.DistError) or (
        isinstance(exception, RuntimeError)
        and not isinstance(exception, SeqrecError)
        and any(sign in str(exception) for sign in _GLOO)
    )


class Meeting:
    """A store beside the process group's, where ranks answer a roll call.

    torchrun may share its agents' store with the ranks, which would end with the host that keeps it; so rank 0 keeps
    one for the ranks alone.

    Args:
        me: this rank.
        peers: all ranks.
        address: host and port of rank 0's store.
        store: this thread's connection, or the store itself.
    """

    def __init__(self, me: Peer, peers: dict[int, Peer], address: tuple[str, int], store: TCPStore):
        self._me, self._peers, self._address, self._store = me, peers, address, store
        self._answers: dict[int, str] = {}
        self._failed = threading.Event()  # this rank knows of its own failure, and ends by itself
        self._left = threading.Event()
        threading.Thread(target=self._watch, name="rank-watch", daemon=True).start()

    @classmethod
    def open(cls) -> Meeting:
        """Makes or joins the store; all ranks of the process group at once."""
        me = Peer(dist.get_rank(), socket.gethostname(), os.getpid())
        host = _own_address(os.environ["MASTER_ADDR"]) if me.rank == 0 else ""
        store = _connect((host, 0), server=True) if me.rank == 0 else None
        told: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(told, (me, (host, store.port if store else 0)))
        address = told[0][1]
        return cls(me, {peer.rank: peer for peer, _ in told}, address, store or _connect(address))

    def leave(self) -> None:
        """To be called before this process ends in peace."""
        self._left.set()

    def tell(self, exception: BaseException) -> None:
        """Says why this rank ends, so that the others need not guess."""
        self._failed.set()
        text = f"failed by itself: {type(exception).__name__}: {exception}"
        self._bounded(lambda store: self._begin(store, text))
        time.sleep(2 * PERIOD_S)  # rank 0 takes the store along

    def call_roll(self, exception: BaseException) -> TrainingError:
        """Waits for the answers of all ranks, for a few seconds, and says who is missing."""
        self._failed.set()
        keeper = self._peers[0]
        reached = not keeper.has_ended and self._bounded(self._call_roll)
        reason = str(exception).splitlines()[0].rpartition("] ")[2].partition(". ")[0]
        if not reached and not self._answers:  # nobody can tell of the others then
            missing = [keeper]
        else:
            missing = [peer for rank, peer in self._peers.items() if self._answers.get(rank) != _WAITS]
        if not missing:
            return TrainingError(
                "ranks lost each other, and all of them answer", reason=reason, do="start the same command again"
            )
        names = ", ".join(map(str, missing))
        facts = {f"rank {peer.rank}": self._state_of(peer) for peer in missing}
        return TrainingError(f"{names} did not meet the other ranks", reason=reason, **facts, do=_advice(*missing))

    def _state_of(self, peer: Peer) -> str:
        if peer.rank in self._answers:
            return self._answers[peer.rank]
        if peer.has_ended:
            return "its process has ended"
        return "no answer: it has ended or is stopped, or its host is cut off"

    def _call_roll(self, store: TCPStore) -> None:
        self._begin(store, _WAITS)
        give_up = time.monotonic() + GRACE_S
        while time.monotonic() < give_up:
            self._collect(store)
            if all(rank in self._answers or peer.has_ended for rank, peer in self._peers.items()):
                break
            time.sleep(PERIOD_S / 5)
        time.sleep(2 * PERIOD_S)  # for those that are late, and rank 0 takes the store along
        self._collect(store)

    def _begin(self, store: TCPStore, answer: str) -> None:
        store.set(str(self._me.rank), json.dumps(answer))
        store.set(_ROLL_CALL, "1")

    def _collect(self, store: TCPStore) -> None:
        for rank in self._peers:
            if store.check([str(rank)]):
                self._answers[rank] = json.loads(store.get(str(rank)))

    def _bounded(self, work: Callable[[TCPStore], None]) -> bool:
        """Does the work over a new connection, since one to a host that is cut off may block for good."""
        done = threading.Event()

        def run() -> None:
            try:
                work(self._store if self._me.rank == 0 else _connect(self._address))
            except (dist.DistError, RuntimeError):
                return
            done.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(2 * GRACE_S)  # a thread that still connects when the process ends would abort it
        return done.is_set()

    def _watch(self) -> None:
        try:
            store = self._store if self._me.rank else _connect(self._address)
            while not self._left.wait(PERIOD_S):
                if store.check([_ROLL_CALL]):
                    return self._answer(store)
        except (dist.DistError, RuntimeError):
            return  # rank 0 has gone, and the collectives will tell

    def _answer(self, store: TCPStore) -> None:
        """Shows where this rank stands, and ends it unless it fails by itself."""
        asked = time.monotonic()
        while time.monotonic() < asked + PERIOD_S:  # whoever waits for the same rank fails at the same time
            if self._failed.wait(PERIOD_S / 5):
                return
        stack = _main_stack()
        store.set(str(self._me.rank), json.dumps("stands at\n" + stack))
        while time.monotonic() < asked + GRACE_S:
            with contextlib.suppress(dist.DistError, RuntimeError):  # what was collected before is kept
                self._collect(store)
            if self._failed.wait(PERIOD_S):
                return
        print(f"{self._me}: the other ranks have given up on this one, which stands at\n{stack}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)  # the main thread may hang for ever


def _connect(address: tuple[str, int], *, server: bool = False) -> TCPStore:
    host, port = address
    timeout = timedelta(seconds=GRACE_S)
    return TCPStore(host, port, is_master=server, wait_for_workers=False, timeout=timeout)


def _own_address(other: str) -> str:
    """The address of this host on the network where another one lies."""
    family, kind, _, _, address = socket.getaddrinfo(other, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)  # sends nothing
        return str(probe.getsockname()[0])


def _main_stack() -> str:
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    return "".join(traceback.format_stack(frame)[-_FRAMES:]).rstrip()


def _advice(*missing: Peer) -> str:
    hosts = ", ".join(sorted({peer.host for peer in missing}))
    return f"look at host {hosts}; the same command goes on from the last checkpoint"
