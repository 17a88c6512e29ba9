"""Which checkpoints a run keeps: the best on validation, with early stopping, and the latest to continue from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pydantic import Field

from seqrec.settings import Settings
from seqrec.stream import TrainingBatch
from seqrec.training.callbacks import AllocateRanks
from seqrec.training.module import VALIDATION_PREFIX
from seqrec.training.preemption import StopOnSignal

BEST, LAST = "best", "last"

Metric = Literal["hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr@5", "mrr@10", "mrr@20"]


class SelectionSettings(Settings):
    """The `selection` section of a recipe."""

    metric: Metric = Field("ndcg@10", description="Validation metric that decides, the higher the better.")
    patience: int | None = Field(
        5, ge=1, description="Validations without a new best after which training stops; null: never."
    )
    save_every_steps: int | None = Field(
        1000,
        ge=1,
        description="Steps after which the checkpoint to continue from is saved within an epoch, beside its end; "
        "null: only there.",
    )


class BestCheckpoint(ModelCheckpoint):
    """Keeps the best checkpoint among those that are results: with AdaLoRA, those whose ranks are final."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if all(c.finished for c in trainer.callbacks if isinstance(c, AllocateRanks)):  # type: ignore[attr-defined]
            super().on_validation_end(trainer, pl_module)


class LastCheckpoint(ModelCheckpoint):
    """Keeps the checkpoint to continue from: saved at ends of epochs, and at ends of steps between.

    Args:
        folder: where it lies.
        every_steps: steps after the last save that make the next one due; None for ends of epochs only.
        stop: makes one due when training was told to stop.
    """

    def __init__(self, folder: Path, *, every_steps: int | None, stop: StopOnSignal):
        super().__init__(folder, LAST, save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True)
        self._every_steps = every_steps
        self._stop = stop

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._last_global_step_saved = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: TrainingBatch, batch_idx: int
    ) -> None:
        """Never within a step, whose gradients no checkpoint holds, nor before a validation, which would be lost."""
        due = self._every_steps and trainer.global_step - self._last_global_step_saved >= self._every_steps
        if (due or self._stop.due) and batch.after != batch.position and not _validation_follows(trainer):
            self._save_checkpoint(trainer, self.format_checkpoint_name({}))

    def _save_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        super()._save_checkpoint(trainer, filepath)
        self._stop.saved()


def _validation_follows(trainer: L.Trainer) -> bool:
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None
    return loop.epoch_loop.batch_progress.is_last_batch or loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def selection_callbacks(settings: SelectionSettings, folder: Path) -> list[Callback]:
    """Keeps the best and the latest checkpoint in ``folder``, and stops early or when told to."""
    monitor = VALIDATION_PREFIX + settings.metric
    best = BestCheckpoint(
        folder, BEST, monitor, mode="max", save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=False
    )
    stop_on_signal = StopOnSignal()
    last = LastCheckpoint(folder, every_steps=settings.save_every_steps, stop=stop_on_signal)
    if settings.patience is None:
        return [stop_on_signal, best, last]
    # at the end of an epoch that `max_steps` cut short there is no metric, or only an old one
    stop = EarlyStopping(monitor, patience=settings.patience, mode="max", check_on_train_epoch_end=False)
    return [stop_on_signal, stop, best, last]
