"""Which checkpoints a run saves and keeps: the best on validation, with early stopping, and those to continue from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping
from lightning.pytorch.trainer.states import TrainerFn
from pydantic import Field

from seqrec.settings import Settings
from seqrec.stream import TrainingBatch
from seqrec.training.callbacks import AllocateRanks
from seqrec.training.folders import Best
from seqrec.training.module import VALIDATION_PREFIX
from seqrec.training.preemption import StopOnSignal
from seqrec.training.rank_watch import is_collective_failure
from seqrec.training.saving import Saver

Metric = Literal["hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr@5", "mrr@10", "mrr@20", "auc"]


class SelectionSettings(Settings):
    """The `selection` section of a recipe."""

    metric: Metric = Field(
        "ndcg@10",
        description="Validation metric that decides, the higher the better: `auc`, the mean of the outcomes, with the "
        "head `outcome`, and another one with all other heads.",
    )
    patience: int | None = Field(
        5, ge=1, description="Validations without a new best after which training stops; null: never."
    )
    save_every_steps: int | None = Field(
        1000,
        ge=1,
        description="Steps after which a checkpoint is saved within an epoch, beside its end; null: only there.",
    )
    keep: int = Field(
        2,
        ge=1,
        description="Newest checkpoints that are kept, beside the best; where the newest is damaged, a run goes on "
        "from the one before.",
    )
    save_in_background: bool = Field(
        False,
        description="Train on while a checkpoint is written, from a copy of the state in the host's memory. One write "
        "at a time; one that fails is told at the next save or at the end.",
    )


class KeepCheckpoints(Checkpoint):
    """Saves checkpoints to continue from, and keeps the newest and the best.

    Saved at ends of epochs, at ends of steps between, and after a validation that is the best so far; with AdaLoRA the
    best is one whose ranks are final. Always between two steps and never before a validation that is due, so that
    every checkpoint can be continued from: what is best is known after the validation, and saved by the epoch's end,
    or before the next step.

    Args:
        saver: writes them.
        monitor: logged metric that decides which is best, the higher the better.
        every_steps: steps after the last save that make the next one due; None for ends of epochs only.
        stop: makes one due when training was told to stop.
    """

    def __init__(self, saver: Saver, *, monitor: str, every_steps: int | None, stop: StopOnSignal):
        self.best: Best | None = None
        self._saver = saver
        self._monitor = monitor
        self._every_steps = every_steps
        self._stop = stop
        self._saved_step = 0
        self._best_is_due = False

    def save(self, trainer: L.Trainer) -> None:
        """Saves now; all ranks at once, between two steps."""
        self._best_is_due = False
        self._saved_step = trainer.global_step
        self._saver.save(trainer, best=self.best)
        if self._stop.due:
            self._saver.wait()
        self._stop.saved()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._saved_step = trainer.global_step

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: TrainingBatch, batch_idx: int
    ) -> None:
        if self._best_is_due:
            self.save(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: TrainingBatch, batch_idx: int
    ) -> None:
        """Never within a step, whose gradients no checkpoint holds, nor before a validation, which would be lost."""
        due = self._every_steps and trainer.global_step - self._saved_step >= self._every_steps
        if (due or self._stop.due) and batch.after != batch.position and not _validation_follows(trainer):
            self.save(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        allocators = (c for c in trainer.callbacks if isinstance(c, AllocateRanks))  # type: ignore[attr-defined]
        fits = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if not fits or not all(allocator.finished for allocator in allocators):
            return
        value = float(trainer.callback_metrics[self._monitor])
        if self.best is None or value > self.best.value:
            self.best = Best(trainer.global_step, self._monitor, value)
            self._best_is_due = True

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._best_is_due or self._saved_step != trainer.global_step:
            self.save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._saver.wait()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if not is_collective_failure(exception):  # ranks that are lost would be waited for
            self._saver.give_up()

    def state_dict(self) -> dict[str, Any]:
        return {"best": None if self.best is None else self.best._asdict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = None if state_dict["best"] is None else Best(**state_dict["best"])


def _validation_follows(trainer: L.Trainer) -> bool:
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None
    return loop.epoch_loop.batch_progress.is_last_batch or loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def selection_callbacks(settings: SelectionSettings, folder: Path) -> list[Callback]:
    """Keeps the best and the newest checkpoints in ``folder``, and stops early or when told to."""
    monitor = VALIDATION_PREFIX + settings.metric
    told = StopOnSignal()
    saver = Saver(folder, keep=settings.keep, background=settings.save_in_background)
    checkpoints = KeepCheckpoints(saver, monitor=monitor, every_steps=settings.save_every_steps, stop=told)
    if settings.patience is None:
        return [told, checkpoints]
    # at the end of an epoch that `max_steps` cut short there is no metric, or only an old one
    early = EarlyStopping(monitor, patience=settings.patience, mode="max", check_on_train_epoch_end=False)
    return [told, early, checkpoints]
