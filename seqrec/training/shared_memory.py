"""Gradients of ranks on one host's CPU, averaged in memory that all of them share.

gloo sends them through the loopback network, which takes several times as long (`benchmarks/ranks_speed.py`). Here a
rank copies its gradient into shared memory, averages its share of everybody's, and copies the whole average back.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import sys
from contextlib import nullcontext
from datetime import timedelta

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from seqrec.training.collectives import from_first_rank, tell_ranks
from seqrec.training.faults import longest_wait

PIECE = 1 << 22  # bytes of a rank that are averaged at once, however large the gradient


class AverageInSharedMemory(Callback):
    """Averages DDP's gradients in shared memory where all ranks train on the CPU of one Linux host.

    Ranks are added in their order, whatever DDP's buckets.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        model = trainer.strategy.model
        if not isinstance(model, DistributedDataParallel) or trainer.strategy.root_device.type != "cpu":
            return
        if trainer.num_nodes > 1 or trainer.world_size == 1 or sys.platform != "linux":
            return
        average = SharedAverage.open(longest_wait(trainer))
        if average is not None:
            model.register_comm_hook(None, lambda _, bucket: _finished(average(bucket.buffer())))


def _finished(gradient: Tensor) -> Future[Tensor]:
    future: Future[Tensor] = Future()
    future.set_result(gradient)
    return future


class SharedAverage:
    """Averages tensors over the ranks of one host, which all call it together.

    Args:
        rank: this one.
        links: rank 0's to each other rank, or this rank's to rank 0.
        memory: a piece of each rank, and one of their averages.
    """

    def __init__(self, rank: int, links: list[socket.socket], memory: mmap.mmap):
        self._rank = rank
        self._links = links
        self._pieces = torch.frombuffer(memory, dtype=torch.uint8).view(-1, PIECE)

    @classmethod
    def open(cls, timeout: timedelta | None) -> SharedAverage | None:
        """Joins the ranks of the process group.

        Args:
            timeout: how long a rank waits for another; None for ever.
        Returns:
            None where ranks do not reach each other, as in containers of their own.
        """
        rank, ranks = dist.get_rank(), dist.get_world_size()
        with _listener() if rank == 0 else nullcontext() as listener:
            address = from_first_rank(listener.getsockname().decode() if listener else "")
            links, failed = [], None
            if listener is None:
                links.append(socket.socket(socket.AF_UNIX))
                try:
                    links[0].connect(address)
                except OSError as error:
                    failed = str(error)
            if tell_ranks(failed):
                return None
            while listener is not None and len(links) < ranks - 1:
                link, _ = listener.accept()
                if _is_own(link):
                    links.append(link)
        for link in links:
            link.settimeout(None if timeout is None else timeout.total_seconds())
        return cls(rank, links, _share_memory(rank, links, (ranks + 1) * PIECE))

    def __call__(self, values: Tensor) -> Tensor:
        """The mean over ranks, in place, of a contiguous tensor of one dimension.

        Raises:
            torch.distributed.DistError: a rank has ended, or did not come in time.
        """
        pieces = self._pieces.view(values.dtype)
        ranks, average = pieces[:-1], pieces[-1]
        for part in torch.split(values, pieces.shape[1]):
            n = len(part)
            ranks[self._rank, :n] = part
            self._meet()
            share = slice(self._rank * n // len(ranks), (self._rank + 1) * n // len(ranks))
            torch.sum(ranks[:, share], 0, out=average[share]).div_(len(ranks))
            self._meet()
            part.copy_(average[:n])
        return values

    def _meet(self) -> None:
        """Returns once all ranks are here; rank 0 tells the others."""
        try:
            if self._rank:
                self._links[0].send(b"\0")
            for link in self._links:
                if not link.recv(1):
                    raise ConnectionError("connection closed")
            if not self._rank:
                for link in self._links:
                    link.send(b"\0")
        except OSError as error:
            for link in self._links:  # ranks that wait for this one fail as well, at once
                link.close()
            raise dist.DistError(f"averaging gradients in shared memory: {error}") from error


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")  # Linux names it, beside the file system
    listener.listen(socket.SOMAXCONN)
    return listener


def _is_own(link: socket.socket) -> bool:
    """Whether it leads to a process of this user, as the listener's name is no secret."""
    _, user, _ = struct.unpack("iII", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(user == os.getuid())


def _share_memory(rank: int, links: list[socket.socket], size: int) -> mmap.mmap:
    """Memory without a name, which rank 0 makes and sends, and which ends with the ranks."""
    if rank == 0:
        file = os.memfd_create("seqrec-gradients")
        os.truncate(file, size)
        for link in links:
            socket.send_fds(link, [b"\0"], [file])
    else:
        _, (file,), _, _ = socket.recv_fds(links[0], 1, 1)
    memory = mmap.mmap(file, size)
    os.close(file)
    return memory
