"""What the module has to know of the strategy that it is trained under."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.strategies import DeepSpeedStrategy, Strategy

from seqrec.training.strategies.catalogue_parallel import CatalogueParallelStrategy
from seqrec.training.strategies.fsdp2 import Fsdp2Strategy


def loss_factor(trainer: L.Trainer) -> int:
    """What a rank multiplies its summed loss by, so that gradients come out as those of the sum over all ranks.

    W ranks and G micro-batches a step: DDP, FSDP2 and ZeRO average over ranks, Lightning divides by G, and DeepSpeed
    divides by G once more.
    """
    divisions = 2 if isinstance(trainer.strategy, DeepSpeedStrategy) else 1
    return int(trainer.world_size * trainer.accumulate_grad_batches**divisions)


def forward_gathers(strategy: Strategy) -> bool:
    """Whether a forward pass waits for the other ranks, so that all of them must make the same number of passes."""
    return isinstance(strategy, Fsdp2Strategy | CatalogueParallelStrategy) or (
        isinstance(strategy, DeepSpeedStrategy) and strategy.zero_stage_3
    )
