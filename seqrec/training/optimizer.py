"""The `optimizer` section of a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from schedulefree import AdamWScheduleFree
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from seqrec.settings import Settings
from seqrec.training.row_adam import RowAdam


class OptimizerSettings(Settings):
    """Optimiser and learning-rate schedule."""

    kind: Literal["adam", "adamw", "adagrad", "schedule_free_adamw"] = Field(
        "adamw",
        description="Adam, Adam with decoupled weight decay, AdaGrad, or schedule-free AdamW, whose average of the "
        "weights is what is validated and what checkpoints hold.",
    )
    lr: float = Field(1e-3, gt=0, description="Highest learning rate.")
    table_lr: float | None = Field(
        None,
        gt=0,
        description="Highest learning rate of the item table, which often begins at random beside a pretrained "
        "backbone; null: the same as of the others.",
    )
    betas: tuple[float, float] = Field(
        (0.9, 0.98),
        description="Decay of Adam's two averages; the first of `schedule_free_adamw` is where between its running "
        "weights, 0, and their average, 1, gradients are taken.",
    )
    weight_decay: float = Field(0.0, ge=0, description="Weight decay, on every trained parameter.")
    table_weight_decay: float | None = Field(
        None, ge=0, description="Weight decay of the item table; null: the same as of the others."
    )
    schedule: Literal["constant", "linear", "cosine"] = Field(
        "constant", description="How the rate falls after warm-up, to 0 at the last step of training."
    )
    warmup_steps: int = Field(0, ge=0, description="Steps over which the rate rises from 0.")
    table_updates: Literal["all", "rows"] = Field(
        "all",
        description="`all` rows of the item table in every step; or only the `rows` that the step's inputs, targets "
        "and negatives are, which costs the same for catalogues of any size. `rows` needs a sampled loss, on one "
        "device, under ddp or under catalogue_parallel.",
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Decay of an exponential moving average of the trained weights, as 0.999. The average is what is "
        "validated and what the best checkpoint holds; null: the weights themselves.",
    )

    @model_validator(mode="after")
    def _check(self) -> OptimizerSettings:
        if self.table_updates == "rows" and self.kind not in ("adam", "adamw"):
            raise ValueError("`table_updates: rows` is Adam's: take `kind: adamw`, or update `all` rows")
        if self.kind == "schedule_free_adamw":
            self._check_schedule_free()
        return self

    def _check_schedule_free(self) -> None:
        if self.schedule != "constant":
            raise ValueError(f"`schedule: {self.schedule}` is what `schedule_free_adamw` does without: leave it out")
        if self.ema is not None:
            raise ValueError("`schedule_free_adamw` averages the weights itself: leave `ema` null, or take `adamw`")
        if self.betas[0] == 0:
            raise ValueError("`schedule_free_adamw` takes gradients towards the average: set `betas[0]` above 0")

    @property
    def averages(self) -> bool:
        """Whether an average is validated and saved in the place of the weights."""
        return self.ema is not None or self.kind == "schedule_free_adamw"


def build_optimizer(
    settings: OptimizerSettings, parameters: Iterable[nn.Parameter], *, table: nn.Parameter | None = None
) -> Optimizer:
    """The optimiser over the parameters that are trained.

    Args:
        settings: which.
        parameters: all of a model.
        table: the one among them that is the item table.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": trained}]
    of_table = {"lr": settings.table_lr, "weight_decay": settings.table_weight_decay}
    own = {name: value for name, value in of_table.items() if value is not None}
    if own:
        groups = [
            {"params": [parameter for parameter in trained if parameter is not table]},
            {"params": [parameter for parameter in trained if parameter is table], **own},
        ]
    # on CPUs one pass over what is in memory; fp16's scaler on GPUs does not clip before a fused step, and shards of
    # fsdp2 may lie beside whole parameters, which one fused call does not take together
    fused = all(parameter.device.type == "cpu" and not isinstance(parameter, DTensor) for parameter in trained) or None
    if settings.kind == "adagrad":
        return torch.optim.Adagrad(groups, lr=settings.lr, weight_decay=settings.weight_decay, fused=fused)
    if settings.kind == "schedule_free_adamw":
        # as torch's Adam chooses; its own default would take a further copy of all weights on a CPU too
        foreach = all(parameter.is_cuda for parameter in trained)
        free = AdamWScheduleFree(
            groups, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay, foreach=foreach
        )
        free.train()
        assert isinstance(free, Optimizer)  # its package says nothing of types
        return free
    kind = RowAdam if settings.table_updates == "rows" else torch.optim.Adam
    return kind(
        groups,
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        decoupled_weight_decay=settings.kind == "adamw",
        fused=fused,
    )


def build_schedule(settings: OptimizerSettings, optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """The learning rate over ``total_steps`` steps."""
    name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
    schedule: LRScheduler = get_scheduler(
        name, optimizer, num_warmup_steps=settings.warmup_steps, num_training_steps=total_steps
    )
    return schedule
