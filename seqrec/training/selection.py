"""Which checkpoint is the run's result: the best on validation, with early stopping."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pydantic import Field

from seqrec.settings import Settings
from seqrec.training.callbacks import AllocateRanks
from seqrec.training.module import VALIDATION_PREFIX

BEST, LAST = "best", "last"

Metric = Literal["hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr@5", "mrr@10", "mrr@20"]


class SelectionSettings(Settings):
    """The `selection` section of a recipe."""

    metric: Metric = Field("ndcg@10", description="Validation metric that decides, the higher the better.")
    patience: int | None = Field(
        5, ge=1, description="Validations without a new best after which training stops; null: never."
    )


class BestCheckpoint(ModelCheckpoint):
    """Keeps the best checkpoint among those that are results: with AdaLoRA, those whose ranks are final."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if all(c.finished for c in trainer.callbacks if isinstance(c, AllocateRanks)):  # type: ignore[attr-defined]
            super().on_validation_end(trainer, pl_module)


def selection_callbacks(settings: SelectionSettings, folder: Path) -> list[Callback]:
    """Keeps the best and the latest checkpoint in ``folder``, and stops early."""
    monitor = VALIDATION_PREFIX + settings.metric
    common: dict[str, Any] = {"dirpath": folder, "save_top_k": 1, "enable_version_counter": False}
    best = BestCheckpoint(filename=BEST, monitor=monitor, mode="max", save_on_train_epoch_end=False, **common)
    last = ModelCheckpoint(filename=LAST, save_on_train_epoch_end=True, **common)
    if settings.patience is None:
        return [best, last]
    # at the end of an epoch that `max_steps` cut short there is no metric, or only an old one
    stop = EarlyStopping(monitor, patience=settings.patience, mode="max", check_on_train_epoch_end=False)
    return [stop, best, last]
