"""The Trainer of what ranks and does not train."""

from __future__ import annotations

from datetime import timedelta

import lightning as L
from lightning.pytorch.strategies import DDPStrategy

_LONGEST_WAIT = timedelta(days=7)  # ranks wait for the slowest at the end


def ranking_trainer(*, accelerator: str, devices: int, progress: bool) -> L.Trainer:
    """One that logs and saves nothing.

    Args:
        accelerator: as Lightning names it.
        devices: processes.
        progress: shows a bar.
    """
    return L.Trainer(
        accelerator=accelerator,
        devices=devices,
        strategy=DDPStrategy(timeout=_LONGEST_WAIT) if devices > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
