"""The item table in shards, everything else as under DDP: for catalogues too large for one device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from seqrec.models import RankingModel, SequenceModel
from seqrec.training.catalogue import Shard, ShardedItemTable, sharded_loss

_TABLE = "model.items.weight"  # in the LightningModule


class CatalogueParallelStrategy(DDPStrategy):
    """Each rank holds an equal share of the item table: weights, gradients and optimiser states.

    The backbone is on every rank and its gradients are averaged, as DDP does. Checkpoints are those of DDP: rank 0
    gathers the shards and writes one file, which can be continued on any number of ranks, under either strategy.
    """

    def shard_of(self, n_items: int) -> Shard:
        """This rank's rows of a table.

        Raises:
            UnsupportedError: there are too few items.
        """
        return Shard(n_items, self.global_rank, self.world_size)

    def shard(self, model: RankingModel) -> None:
        """Leaves this rank's rows of the item table, in place; nothing where that is done.

        Raises:
            UnsupportedError: the loss expects the whole table, or there are too few items.
        """
        if isinstance(model.items, ShardedItemTable):
            return
        assert isinstance(model, SequenceModel)  # others are refused, see `support`
        shard = self.shard_of(model.items.n_items)
        model.loss = sharded_loss(model.loss, shard)
        model.items = ShardedItemTable(model.items, shard)
        # or DDP would give all ranks the rows of rank 0, and then their mean gradient
        ignore = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
        ignore(self.lightning_module, [_TABLE])  # type: ignore[no-untyped-call]

    @property
    def _table(self) -> ShardedItemTable:
        model = getattr(self.lightning_module, "model", None)
        assert isinstance(model, SequenceModel)
        table = model.items
        assert isinstance(table, ShardedItemTable)
        return table

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The whole state on rank 0; on others, which write nothing, without rows of the table."""
        state = super().lightning_module_state_dict()
        return state | {_TABLE: self._table.shard.gather(state[_TABLE])}

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        state = checkpoint["state_dict"]
        own = state | {_TABLE: state[_TABLE][self._table.shard.own]}
        super().load_model_state_dict({**checkpoint, "state_dict": own}, strict)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """As `lightning_module_state_dict`, of what the optimizer keeps."""
        return self._averages_through(self._table.shard.gather, optimizer, super().optimizer_state(optimizer))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        own = self._table.shard.own
        states = [
            self._averages_through(lambda whole: whole[own].clone(), optimizer, state)
            for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True)
        ]
        super().load_optimizer_state_dict({**checkpoint, "optimizer_states": states})

    def _averages_through(
        self, change: Callable[[Tensor], Tensor], optimizer: Optimizer, state: dict[str, Any]
    ) -> dict[str, Any]:
        """An optimizer's state with what has a row an item changed."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        places = [i for i, parameter in enumerate(parameters) if parameter is self._table.weight]
        changed = {
            i: {name: change(value) if value.dim() else value for name, value in state["state"][i].items()}
            for i in places
            if i in state["state"]
        }
        return state | {"state": state["state"] | changed}
