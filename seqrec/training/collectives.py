"""What ranks tell each other beside gradients."""

from __future__ import annotations

import atexit
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


class RankSum:
    """A sum over ranks that begins when it is made and is awaited when it is needed, so that other work hides it.

    Args:
        values: any shape; summed in place, and theirs already where there is one process.
    """

    def __init__(self, values: Tensor):
        self._values = values
        self._work = dist.all_reduce(values, async_op=True) if _grouped() else None

    def wait(self) -> Tensor:
        """The sum; on an accelerator its stream waits and the process goes on."""
        if self._work is not None:
            self._work.wait()
        return self._values


class LateValue:
    """A number on a device, copied to the CPU while the process goes on: reading it later waits for nothing newer.

    Args:
        value: one element.
    """

    def __init__(self, value: Tensor):
        self._copy = value.to("cpu", non_blocking=True)
        self._copied = None if value.device.type == "cpu" else torch.Event(value.device)
        if self._copied is not None:
            self._copied.record()

    def read(self) -> float:
        """The number; waits until the device has come to where this was made."""
        if self._copied is not None:
            self._copied.synchronize()
        return float(self._copy)


def copy_from_first_rank(values: Tensor) -> None:
    """Gives all ranks the values of rank 0, in place."""
    if _grouped():
        dist.broadcast(values, 0)


def gather_over_ranks(values: Tensor) -> Tensor:
    """Equally many rows of each rank, by rank; on one process the values themselves.

    Args:
        values: (n, ...), with the same n everywhere.
    Returns:
        (W * n, ...).
    """
    if not _grouped():
        return values
    gathered = values.new_empty(dist.get_world_size() * len(values), *values.shape[1:])
    dist.all_gather_single(gathered, values.contiguous())
    return gathered


def gather_ragged(values: Tensor, counts: Tensor) -> Tensor:
    """Rows of all ranks, by rank, of which each may have another number.

    Args:
        values: (n, ...).
        counts: int64 (W,), each rank's n.
    Returns:
        (sum of counts, ...).
    """
    longest = int(counts.max())
    padded = values.new_zeros(longest, *values.shape[1:])
    padded[: len(values)] = values
    gathered = gather_over_ranks(padded).reshape(len(counts), *padded.shape)
    return torch.cat([part[:count] for part, count in zip(gathered, counts.tolist(), strict=True)])


def gather_rows(*values: Tensor) -> tuple[list[Tensor], slice]:
    """Rows of all ranks, by rank, of values that belong together; ranks may have different numbers of them.

    Args:
        values: each (n, ...).
    Returns:
        Each (sum of all ranks' n, ...), and which of the rows are this rank's.
    """
    n = len(values[0])
    counts = gather_over_ranks(torch.tensor([n], device=values[0].device))
    first = int(counts[: dist.get_rank()].sum()) if _grouped() else 0
    return [gather_ragged(each, counts) for each in values], slice(first, first + n)


def tell_ranks(what: T | None, group: dist.ProcessGroup | None = None) -> dict[int, T]:
    """What ranks have to tell, by rank, without those that have nothing; all of them meet here.

    Args:
        what: this rank's, which can be pickled.
        group: of all ranks; None for that of training.
    """
    told: list[T | None] = [what]
    if _grouped():
        told = [None] * dist.get_world_size()
        dist.all_gather_object(told, what, group)
    return {rank: said for rank, said in enumerate(told) if said is not None}


def from_first_rank(text: str) -> str:
    """What rank 0 says; all of them meet here."""
    said = [text]
    if _grouped():
        dist.broadcast_object_list(said, 0)
    return said[0]


def group_beside(timeout: timedelta | None) -> dist.ProcessGroup | None:
    """A second group of all ranks, on the CPU, for another thread than training's; all of them meet here.

    Args:
        timeout: of its collectives; None for torch's own.
    Returns:
        None on one process.
    """
    return dist.new_group(backend="gloo", timeout=timeout) if _grouped() else None


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()


@atexit.register
def _leave_group() -> None:
    """A thread of gloo that still holds a tensor while the interpreter ends would abort the process, its work done."""
    if _grouped():
        dist.destroy_process_group()
