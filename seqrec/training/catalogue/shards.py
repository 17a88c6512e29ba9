"""Which rows of the item table a rank holds, and what ranks send each other about them."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from seqrec.errors import UnsupportedError
from seqrec.models.losses.table_parts import TablePart

_PIECE_BYTES = 64 * 2**20  # a rank's rows are gathered in pieces, as an accelerator has no room for a second shard


class Shard(TablePart):
    """A rank's rows of an item table: runs of ⌈N / W⌉ rows, by rank, of which the last may be shorter.

    Args:
        n_items: rows N of the whole table.
        rank: this process's.
        world_size: ranks W.
    Raises:
        UnsupportedError: a rank would have no rows.
    """

    def __init__(self, n_items: int, rank: int, world_size: int):
        self.n_items = n_items
        self.rank = rank
        self.world_size = world_size
        self.rows_each = -(-n_items // world_size)
        if self.rows_each * (world_size - 1) >= n_items:
            raise UnsupportedError(
                f"{n_items} items in runs of {self.rows_each} leave one of {world_size} ranks without any",
                where="trainer.strategy",
                do="train such a small catalogue under `ddp`",
            )
        self.first = rank * self.rows_each
        self.stop = min(self.first + self.rows_each, n_items)

    @property
    def own(self) -> slice:
        """The rank's rows."""
        return slice(self.first, self.stop)

    def most_rows(self, own: int) -> int:
        """As `TablePart` says."""
        return self.rows_each

    def greatest(self, values: Tensor) -> Tensor:
        """As `TablePart` says; all ranks meet."""
        if self.world_size > 1:
            dist.all_reduce(values, dist.ReduceOp.MAX)
        return values

    def sum(self, values: Tensor) -> Tensor:
        """As `TablePart` says; all ranks meet."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def counts_by_owner(self, rows: Tensor) -> Tensor:
        """int64 (W,): how many of some ``rows``, int64 (n,) in 0..N-1, each rank holds."""
        return torch.bincount(rows // self.rows_each, minlength=self.world_size)

    def gather(self, values: Tensor) -> Tensor:
        """Rows of all ranks, by rank, in the memory of rank 0's host; all ranks meet.

        Args:
            values: (n, ...), a value for each row of the shard.
        Returns:
            (N, ...) on the CPU of rank 0; (0, ...) on others.
        """
        step = max(1, _PIECE_BYTES // max(1, values[:1].nbytes))
        if self.rank:
            for piece in torch.split(values, step):
                dist.send(piece.contiguous(), 0)
            return values[:0].cpu()
        whole = torch.empty(self.n_items, *values.shape[1:], dtype=values.dtype)
        whole[self.own] = values.cpu()
        for rank in range(1, self.world_size):
            for piece in torch.split(whole[Shard(self.n_items, rank, self.world_size).own], step):
                received = torch.empty_like(piece, device=values.device)
                dist.recv(received, rank)
                piece.copy_(received)
        return whole

    def exchange(self, values: Tensor, sent: list[int], received: list[int]) -> Tensor:
        """Sends each rank its run of rows, and receives one of each; all ranks meet.

        Args:
            values: (sum of sent, ...), by the rank that a row is for.
            sent, received: W lengths of runs.
        Returns:
            (sum of received, ...), by the rank that a row is from.
        """
        if self.world_size == 1:
            return values
        found = values.new_empty(sum(received), *values.shape[1:])
        dist.all_to_all_single(found, values.contiguous(), received, sent)
        return found

    def exchange_counts(self, sent: Tensor) -> list[int]:
        """How many each rank sends to this one; all ranks meet.

        Args:
            sent: int64 (W,), how many this one sends to each.
        """
        ones = [1] * self.world_size
        return [int(count) for count in self.exchange(sent, ones, ones).tolist()]
