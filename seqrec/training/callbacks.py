"""Callbacks that training needs to be right: position, rank allocation; and those that show how it goes."""

from __future__ import annotations

import resource
import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from peft import AdaLoraConfig, PeftModel
from torch.nn.parallel import DistributedDataParallel

from seqrec.errors import RunError, UnsupportedError
from seqrec.models import RankingModel, allocate_ranks, allocator_state, load_allocator_state
from seqrec.models.adapters import ADAPTER_NAME
from seqrec.stream import SequenceDataModule, TrainingBatch
from seqrec.training.collectives import RankSum, gather_over_ranks


class KeepPosition(Callback):
    """Moves the datamodule's position forward, before checkpoints are saved: a module's own hook would run after.

    Lightning counts steps and micro-batches too. On resume its counters are made to say what the position says, and at
    each batch they must agree, so that no row is lost or repeated in silence.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.world_size > 1 and trainer._accelerator_connector.use_distributed_sampler:
            raise UnsupportedError(
                "Lightning's distributed sampler would repeat and drop rows of an exact stream",
                where="trainer.use_distributed_sampler",
                do="pass `use_distributed_sampler=False` to the Trainer",
            )

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: TrainingBatch, batch_idx: int
    ) -> None:
        data = _data(trainer)
        if data is None:
            return
        (epoch, step), stream = batch.position, data.training
        stands = (epoch, epoch * stream.n_steps + step, step * stream.micro_batches + batch.micro_batch)
        counted = (trainer.current_epoch, trainer.global_step, batch_idx)
        if counted != stands:
            names = "epoch {}, step {}, micro-batch {} of the epoch"
            raise RunError(
                "the Trainer and the datamodule do not stand at the same place",
                trainer=names.format(*counted),
                data=names.format(*stands),
                do="continue from a checkpoint, `fit(module, data, ckpt_path=…)` with a new Trainer, "
                "or start over with a new datamodule",
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
        name = type(data).__qualname__
        state = checkpoint.get(name)
        if state is None:
            raise RunError(
                f"no position of a datamodule `{name}` in the checkpoint",
                where=str(trainer.ckpt_path),
                do="resume with the class of datamodule that it was saved with, or start over with `--fresh`",
            )
        progress = checkpoint["loops"]["fit_loop"]
        _count_micro_batches(progress["epoch_loop.batch_progress"], state["micro_batches"], data.training.micro_batches)
        if data.position.step:
            _reopen_epoch(progress["epoch_progress"])


def _data(trainer: L.Trainer) -> SequenceDataModule | None:
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, SequenceDataModule) else None


def _count_micro_batches(progress: dict[str, Any], saved: int, now: int) -> None:
    """Lightning counts micro-batches; another number of ranks makes another number of them a step.

    What was done of a step that is not whole is done again, as its gradients are not in the checkpoint.
    """
    for counts in (progress["total"], progress["current"]):
        steps, rest = divmod(counts["processed"], saved)
        # a batch whose end hook saved the checkpoint is processed and not completed; Lightning knows by this difference
        incomplete = 0 if rest else counts["processed"] - counts["completed"]
        done = steps * now
        counts.update(ready=done, started=done, processed=done, completed=done - incomplete)


def _reopen_epoch(progress: dict[str, Any]) -> None:
    """Lightning takes an epoch that `max_steps` cut short for a whole one, and the next would end where it should."""
    for counts in (progress["total"], progress["current"]):
        counts["processed"] = counts["completed"] = counts["started"] - 1


class SettleBuckets(Callback):
    """Lets DDP arrange its gradient buckets before the first step, by a backward pass that changes nothing.

    DDP begins with one bucket and rearranges them once, after the first backward pass that it sees. On three or more
    ranks another arrangement sums in another order, so that the first step of a continued run would differ in its last
    bits from that of a run that had been going on.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data = _data(trainer)
        if data is None or not isinstance(trainer.strategy.model, DistributedDataParallel):
            return
        batch = data.training.step(data.position)[0]
        outputs: Any = trainer.strategy.training_step(trainer.strategy.batch_to_device(batch), 0)
        outputs["loss"].backward()
        pl_module.zero_grad()


class AllocateRanks(Callback):
    """Runs AdaLoRA's allocation once a step, after the optimizer's and while gradients are still there (peft#432).

    Args:
        model: any model; nothing happens unless its adapter is AdaLoRA.
    """

    def __init__(self, model: RankingModel):
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


class TrainingTime(Callback):
    """How long training has taken, earlier starts included as far as their work was saved."""

    def __init__(self) -> None:
        self._before = 0.0
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Up to now."""
        return self._before + time.monotonic() - self._since

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._since = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = state_dict["seconds"]


class StepMetrics(Callback):
    """Logs the exact loss of a step over all ranks, and how well the machines are used.

    `tokens/s` are the events a second of the epoch so far, `padding_share` the share of padding among the positions
    computed since then, and `peak_memory_gib` what the fullest rank has needed so far: on its GPU, else as a process.

    Only at the steps that Lightning logs, `log_every_n_steps`: the others pay for neither a collective nor a
    synchronisation with the device.
    """

    def __init__(self) -> None:
        self._tokens = 0
        self._positions = 0
        self._since = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restart_clock()  # a run that is continued within an epoch has no start of the epoch

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restart_clock()

    def _restart_clock(self) -> None:
        self._tokens, self._positions, self._since = 0, 0, time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: TrainingBatch, batch_idx: int
    ) -> None:
        self._positions += batch.inputs.numel()
        if batch.micro_batch + 1 < trainer.accumulate_grad_batches:
            return
        self._tokens += batch.step_tokens
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and trainer.global_step % every == 0:
            figures = [self._tokens, self._positions, _peak_memory_gib(pl_module.device)]
            of_ranks = gather_over_ranks(torch.tensor([figures], dtype=torch.float64, device=pl_module.device))
            tokens, positions, _ = of_ranks.sum(0).tolist()
            loss: RankSum = pl_module.step_loss  # type: ignore[assignment]
            pl_module.log("train_loss", float(loss.wait() / outputs["targets"]), prog_bar=True)
            pl_module.log("tokens/s", tokens / (time.perf_counter() - self._since), prog_bar=True)
            pl_module.log("padding_share", 1 - tokens / positions)
            pl_module.log("peak_memory_gib", float(of_ranks[:, -1].max()))


def _peak_memory_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
