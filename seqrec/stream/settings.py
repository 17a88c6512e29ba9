"""The `data` section of a recipe."""

from __future__ import annotations

from pydantic import Field

from seqrec.settings import Settings
from seqrec.store import CacheSettings
from seqrec.store.split import LeaveOneOutSettings, SplitSettings


class DataSettings(Settings):
    """Which store, how it is split, and how it becomes batches."""

    store: str = Field(
        description="Folder of the sequence store, or its URL; `fit` prepares a missing one from `logs`."
    )
    cache: CacheSettings | None = Field(
        default_factory=CacheSettings,
        description="Local copies of the shards of a store at a URL; null reads there each time.",
    )
    split: SplitSettings = Field(default_factory=LeaveOneOutSettings, description="The split protocol.")
    max_length: int = Field(50, ge=2, description="Positions that an input takes: the latest events of a history.")
    step_tokens: int = Field(
        2048, ge=1, description="Events of a step (one global batch, all ranks together), on average."
    )
    partitions: int = Field(
        1, ge=1, description="Canonical partitions that ranks divide: 1 on one machine, 8 to 64 on clusters."
    )
    window_tokens: int = Field(
        2_000_000, ge=1, description="Events of a window, which a reader holds in memory for each partition."
    )
    evaluation_tokens: int = Field(16_384, ge=1, description="Events of a validation or test batch, on average.")
