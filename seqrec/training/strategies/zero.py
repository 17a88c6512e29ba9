"""DeepSpeed's ZeRO, through Lightning, on GPUs and on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy

from seqrec.models import SequenceModel
from seqrec.training.plain_values import plain_values_only, zero_classes


class ZeroStrategy(DeepSpeedStrategy):
    """Optimizer states (stage 1), gradients too (2), and weights too (3) in shards.

    Lightning's own refuses all but CUDA. On the CPU this one skips what belongs to CUDA, so that a recipe can be tried
    without a GPU; DeepSpeed's arithmetic is the same there.

    Args:
        **options: those of Lightning's strategy.
    """

    def __init__(self, **options: Any):
        if not torch.cuda.is_available():
            os.environ.setdefault("DS_ACCELERATOR", "cpu")  # before DeepSpeed looks for one, and warns of finding none
        # DeepSpeed wants to know the size of batches, for a log of its own; here they have many
        super().__init__(**{"logging_batch_size_per_gpu": 1, **options})
        assert isinstance(self.config, dict)
        self.config.setdefault("train_micro_batch_size_per_gpu", 1)
        self.config.setdefault("zero_allow_untested_optimizer", True)
        self.config.setdefault("zero_force_ds_cpu_optimizer", False)  # the recipe's optimizer, offloaded or not

    def setup_environment(self) -> None:
        if isinstance(self.accelerator, CUDAAccelerator):
            super().setup_environment()
        else:
            DDPStrategy.setup_environment(self)

    def setup_distributed(self) -> None:
        if isinstance(self.accelerator, CUDAAccelerator):
            super().setup_distributed()
            return
        import deepspeed

        # DeepSpeed would compile a collective of its own, and one killed meanwhile leaves a lock that all later ones
        # wait for
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        self.set_world_ranks()
        self._init_deepspeed_distributed()

    @property
    def root_device(self) -> torch.device:
        device = super().root_device
        return torch.device("cpu", 0) if device.type == "cpu" else device  # DeepSpeed asks for its index

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """DeepSpeed asks torch to unpickle whatever its files hold."""
        with plain_values_only(Path(checkpoint_path), *zero_classes()):
            return super().load_checkpoint(checkpoint_path, weights_only)

    def setup(self, trainer: L.Trainer) -> None:
        """Stage 3 gathers a module's own weights only; the item table is also the loss's."""
        super().setup(trainer)
        if self.zero_stage_3:
            import deepspeed

            model = getattr(self.lightning_module, "model", None)
            assert isinstance(model, SequenceModel)
            deepspeed.zero.register_external_parameter(self.lightning_module, model.items.weight)
