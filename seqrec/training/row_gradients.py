"""Sparse gradients of the item table, averaged over ranks."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn

from seqrec.errors import UnsupportedError
from seqrec.training.collectives import copy_from_first_rank, gather_over_ranks, gather_ragged


class AverageRowGradients(Callback):
    """Does for the table and its sparse gradients what DDP does for dense ones.

    All ranks start from the table of rank 0, and before each step have the mean of their gradients.

    DDP itself takes sparse gradients from `nn.Embedding` only, and reduces them on some backends only. The module must
    have told it to leave the table alone.

    Args:
        table: the item table.
    """

    def __init__(self, table: nn.Parameter):
        self._table = table

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        # subclasses shard parameters or optimizer states, as DeepSpeed's does
        if type(trainer.strategy) not in (SingleDeviceStrategy, DDPStrategy):
            raise UnsupportedError(
                f"updating only rows of the item table does not work under {type(trainer.strategy).__name__}",
                where="optimizer.table_updates",
                do="set it to `all`, or `trainer.strategy` to `auto` or `ddp`",
            )
        if trainer.precision == "16-mixed":  # it looks for overflow before the ranks' gradients meet
            raise UnsupportedError(
                "updating only rows of the item table does not work with the loss scaling of 16-mixed",
                where="optimizer.table_updates",
                do="set it to `all`, or `trainer.precision: bf16-mixed`",
            )

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        copy_from_first_rank(self._table.data)

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        if self._table.grad is not None:
            self._table.grad = mean_over_ranks(self._table.grad)


def mean_over_ranks(gradient: Tensor) -> Tensor:
    """The mean of a sparse gradient over ranks, coalesced, bit for bit the same on all of them.

    Args:
        gradient: sparse (N, D); each rank may have other rows.
    """
    gradient = gradient.coalesce()
    counts = gather_over_ranks(torch.tensor([gradient._nnz()], device=gradient.device))
    if len(counts) == 1:
        return gradient
    rows = gather_ragged(gradient.indices()[0], counts)
    values = gather_ragged(gradient.values(), counts) / len(counts)
    return torch.sparse_coo_tensor(rows.unsqueeze(0), values, gradient.shape, check_invariants=False).coalesce()
