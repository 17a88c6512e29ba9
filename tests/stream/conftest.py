"""Streams over the store of many units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from seqrec.models import MaskedItemSettings, NextItemSettings, build_head
from seqrec.store import SequenceStore
from seqrec.store.split import LeaveOneOutSettings, resolve
from seqrec.stream import DataSettings, EvaluationStream, TrainingStream

_HEADS = {"next_item": NextItemSettings(), "masked_item": MaskedItemSettings(kind="masked_item")}


@pytest.fixture
def training(store_in_units: Path) -> Callable[..., TrainingStream]:
    """A training stream with fields of `data` changed."""

    def make(
        *, head: str = "next_item", seed: int = 1, in_batch: int = 0, columns: Sequence[str] = (), **changes: Any
    ) -> TrainingStream:
        fields: dict[str, Any] = {"store": str(store_in_units), "max_length": 20, "step_tokens": 256}
        settings = DataSettings.model_validate(fields | changes)
        store = SequenceStore(settings.store)
        split, task = resolve(settings.split, store), build_head(_HEADS[head])
        return TrainingStream(store, split, settings, task, seed=seed, in_batch=in_batch, columns=columns)

    return make


@pytest.fixture
def evaluation(store_in_units: Path) -> Callable[..., EvaluationStream]:
    """An evaluation stream with fields of `data` changed."""

    def make(
        *, part: Any = "test", max_history: int = 20, columns: Sequence[str] = (), **changes: Any
    ) -> EvaluationStream:
        fields: dict[str, Any] = {"store": str(store_in_units), "split": LeaveOneOutSettings()}
        settings = DataSettings.model_validate(fields | {"evaluation_tokens": 256, "window_tokens": 200} | changes)
        store = SequenceStore(settings.store)
        split = resolve(settings.split, store)
        return EvaluationStream(store, split, settings, part, max_history=max_history, columns=columns)

    return make
