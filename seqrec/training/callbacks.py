"""Callbacks that training needs to be right: position, rank allocation; and those that show how it goes."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from peft import AdaLoraConfig, PeftModel

from seqrec.errors import RunError, UnsupportedError
from seqrec.models import SequenceModel, allocate_ranks, allocator_state, load_allocator_state
from seqrec.models.adapters import ADAPTER_NAME
from seqrec.stream import SequenceDataModule, TrainingBatch
from seqrec.training.collectives import sum_over_ranks


class KeepPosition(Callback):
    """Moves the datamodule's position forward, before checkpoints are saved: a module's own hook would run after."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.world_size > 1 and trainer._accelerator_connector.use_distributed_sampler:
            raise UnsupportedError(
                "Lightning's distributed sampler would repeat and drop rows of an exact stream",
                where="trainer.use_distributed_sampler",
                do="pass `use_distributed_sampler=False` to the Trainer",
            )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: TrainingBatch, batch_idx: int
    ) -> None:
        data = _data(trainer)
        if data is not None:
            data.position = batch.after

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Lightning has loaded the datamodule's state by now, or silently not, where its class has another name."""
        data = _data(trainer)
        if data is None:
            return
        state = checkpoint.get(type(data).__qualname__)
        if state is None:
            raise RunError("the checkpoint holds no position in the data", do="start over with `--fresh`")
        _rescale_progress(checkpoint, state["micro_batches"], data.training.micro_batches)


def _data(trainer: L.Trainer) -> SequenceDataModule | None:
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, SequenceDataModule) else None


def _rescale_progress(checkpoint: dict[str, Any], saved: int, now: int) -> None:
    """Lightning counts micro-batches; another number of ranks makes another number of them a step."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    for counts in (progress["total"], progress["current"]):
        for name in ("ready", "started", "processed", "completed"):
            counts[name] = counts[name] * now // saved


class AllocateRanks(Callback):
    """Runs AdaLoRA's allocation once a step, after the optimizer's and while gradients are still there (peft#432).

    Args:
        model: any model; nothing happens unless its adapter is AdaLoRA.
    """

    def __init__(self, model: SequenceModel):
        backbone = model.backbone.model
        self._peft = backbone if isinstance(backbone, PeftModel) else None
        if self._peft is not None and not isinstance(self._peft.peft_config[ADAPTER_NAME], AdaLoraConfig):
            self._peft = None
        self._done = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._done = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: TrainingBatch, batch_idx: int
    ) -> None:
        if self._peft is not None and trainer.global_step > self._done:
            self._done = trainer.global_step
            allocate_ranks(self._peft, self._done)

    @property
    def finished(self) -> bool:
        """Whether the ranks are final."""
        if self._peft is None:
            return True
        config = self._peft.peft_config[ADAPTER_NAME]
        return bool(self._done >= config.total_step - config.tfinal)

    def state_dict(self) -> dict[str, Any]:
        return {} if self._peft is None else allocator_state(self._peft)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._peft is not None:
            load_allocator_state(self._peft, state_dict)


class StepMetrics(Callback):
    """Logs each step's exact loss over all ranks, and events a second, to the bar and to the loggers."""

    def __init__(self) -> None:
        self._loss = 0.0
        self._tokens = 0.0
        self._since = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._tokens, self._since = 0.0, time.perf_counter()
        self._loss = 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: TrainingBatch, batch_idx: int
    ) -> None:
        self._loss = self._loss + outputs["loss_sum"].double()
        if (batch.micro_batch + 1) % trainer.accumulate_grad_batches:
            return
        total = sum_over_ranks(torch.as_tensor(self._loss))
        self._tokens += outputs["tokens"]
        rate = self._tokens / (time.perf_counter() - self._since)
        pl_module.log("train_loss", total / outputs["targets"], prog_bar=True)
        pl_module.log("tokens/s", rate, prog_bar=True)
        self._loss = 0.0
