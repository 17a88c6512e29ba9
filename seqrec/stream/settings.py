"""The `data` section of a recipe."""

from __future__ import annotations

from pydantic import Field, model_validator

from seqrec.settings import Settings
from seqrec.store import CacheSettings
from seqrec.store.split import LeaveOneOutSettings, SplitSettings
from seqrec.stream.long_histories import LatestSettings, LongHistories, SlidingSettings


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
    length_buckets: list[int] | None = Field(
        None,
        description="Lengths that inputs are padded to, ascending up to `max_length`, each with a number of rows "
        "of its own: few shapes, for XLA and other compilers. null: as long as the longest of the batch.",
    )
    long_histories: LongHistories = Field(
        default_factory=LatestSettings, description="What is trained on of a history longer than `max_length`."
    )
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
    prefetch_threads: int = Field(
        2,
        ge=0,
        description="Threads of each rank that read and collate ahead of training; 0: in training's own thread.",
    )

    @model_validator(mode="after")
    def _check(self) -> DataSettings:
        buckets = self.length_buckets
        if buckets is not None and (buckets != sorted({*buckets, self.max_length}) or buckets[0] < 1):
            raise ValueError(
                f"length_buckets must be different lengths from 1, ascending, of which the last is max_length, "
                f"{self.max_length}; got {buckets}"
            )
        if isinstance(self.long_histories, SlidingSettings) and self.long_histories.stride > self.max_length:
            raise ValueError(
                f"long_histories.stride is {self.long_histories.stride}: above max_length, {self.max_length}, "
                "events between two parts would never be trained on"
            )
        return self
