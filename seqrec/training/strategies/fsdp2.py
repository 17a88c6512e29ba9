"""Weights, gradients and optimiser states in shards: torch's FSDP2, through Lightning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)

from seqrec.models import RankingModel, SequenceModel
from seqrec.training.checkpoints import check_missing
from seqrec.training.plain_values import ShardReader, plain_values_only
from seqrec.training.states import SHARDED_META


class Fsdp2Strategy(ModelParallelStrategy):
    """Each block of the backbone is a group of shards that is gathered while it computes; the rest is another group.

    Blocks are what Hugging Face itself recomputes as one. A rank gathers a block's weights once forward and once
    backward, and the item table once a pass. Gradients are reduced once a step, so that with several micro-batches a
    rank holds whole gradients between them.

    Args:
        offload: keep shards and optimizer states in the host's memory.

    Attributes:
        saving_group: in which ranks meet while they save, all of them; None for training's own.
    """

    def __init__(self, *, offload: bool = False):
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=True)
        self._offload = offload
        self.saving_group: dist.ProcessGroup | None = None

    def setup_environment(self) -> None:
        """Without it Lightning would take the devices of a node for tensor parallelism."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def shard(self, model: RankingModel) -> None:
        """Cuts a model into shards, in place; nothing where that is done."""
        if isinstance(model, FSDPModule):
            return
        assert isinstance(model, SequenceModel)  # others are refused, see `support`
        mesh = self.device_mesh["data_parallel"]
        offload = CPUOffloadPolicy(pin_memory=self.root_device.type == "cuda") if self._offload else OffloadPolicy()
        for block in model.backbone.blocks():
            fully_shard(block, mesh=mesh, mp_policy=self._block_policy(), offload_policy=offload)
        fully_shard(model, mesh=mesh, offload_policy=offload)
        for method in ("training_loss", "user_vectors"):
            register_fsdp_forward_method(model, method)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Lightning's form; its own ranks meet in training's process group, also from another thread than training's.

        Args:
            checkpoint: what Lightning saves; emptied of what goes into shards.
            filepath: the folder, the same on all ranks.
            storage_options: none.
        """
        path = Path(filepath)
        path.mkdir(parents=True, exist_ok=True)
        optimizers = enumerate(checkpoint.pop("optimizer_states", []))
        shards = {"state_dict": checkpoint.pop("state_dict"), **{f"optimizer_{i}": state for i, state in optimizers}}
        dcp.save(shards, checkpoint_id=path, process_group=self.saving_group)  # type: ignore[attr-defined]
        if self.is_global_zero:
            torch.save(checkpoint, path / SHARDED_META)

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Lightning's asks for every weight of the model, but frozen ones of a pretrained source are not saved."""
        path = Path(self.broadcast(checkpoint_path))
        with plain_values_only(path):
            return self._load_shards(path) if path.is_dir() else super().load_checkpoint(path, weights_only)

    def _load_shards(self, path: Path) -> dict[str, Any]:
        assert self.model is not None
        reader = ShardReader(path)
        saved = reader.metadata.state_dict_metadata
        weights = {k: v for k, v in get_model_state_dict(self.model).items() if f"state_dict.{k}" in saved}
        dcp.load({"state_dict": weights}, storage_reader=reader)  # type: ignore[attr-defined]
        assert self.lightning_module is not None
        check_missing(weights, self.lightning_module)
        self.model.load_state_dict(weights, strict=False)
        for number, optimizer in enumerate(self.optimizers):
            state = {f"optimizer_{number}": get_optimizer_state_dict(self.model, optimizer)}
            dcp.load(state, storage_reader=reader)  # type: ignore[attr-defined]
            options = StateDictOptions(cpu_offload=True)
            set_optimizer_state_dict(
                self.model, optimizer, optim_state_dict=state[f"optimizer_{number}"], options=options
            )
        values: dict[str, Any] = torch.load(path / SHARDED_META, map_location="cpu")
        return values

    def _block_policy(self) -> MixedPrecisionPolicy:
        """Under autocast a block's matrix products are in bfloat16, so its weights may travel so; sums may not.

        The CPU's layer norm, which autocast leaves alone there, refuses weights that are not as precise as its input.
        """
        if self.precision_plugin.precision != "bf16-mixed" or self.root_device.type == "cpu":
            return MixedPrecisionPolicy()
        return MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)

    def model_to_device(self) -> None:
        """Offloaded shards stay where they are; FSDP moves what it gathers."""
        assert self.model is not None
        if not self._offload:
            super().model_to_device()
            return
        for buffer in self.model.buffers():
            buffer.data = buffer.to(self.root_device)

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Lightning's hook around the micro-batches before a step's last, which it has for DDP alone."""
        assert self.lightning_module is not None
        model = self.lightning_module.model
        assert isinstance(model, FSDPModule)
        model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            model.set_requires_gradient_sync(True)
