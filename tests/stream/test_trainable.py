from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from seqrec.random import row_keys
from seqrec.store.split import resolve
from seqrec.stream import DataSettings
from seqrec.stream.trainable import TrainableRows, TrainableRule, keys_of, rows_of

from .stores import write_store


def trainable(path: Path, lengths: list[int], **fields: Any) -> TrainableRows:
    store = write_store(path, lengths, per_unit=100)
    settings = DataSettings.model_validate({"store": str(path), "max_length": 5} | fields)
    return TrainableRule(resolve(settings.split, store), settings, extra_events=1)(store.read(store.units[0]))


def test_parts_of_a_history_draw_apart_and_the_latest_as_it_would_alone(tmp_path: Path) -> None:
    rows = trainable(tmp_path / "store", [9, 32, 50], long_histories={"kind": "chunks"})
    keys = keys_of(rows.ids, 7, 2)
    assert len(set(keys.tolist())) == len(rows.ids) == 2 + 6 + 10
    latest = rows.ids == rows_of(rows.ids)
    assert keys[latest].tolist() == row_keys(7, 2, np.arange(3), "task").tolist()


def test_a_window_does_not_hold_events_that_no_input_takes(tmp_path: Path) -> None:
    rows = trainable(tmp_path / "store", [9, 2000])
    assert rows.items.tolist() == [2, 3, 4, 5, 6, 7, *range(1993, 1999)]
    assert rows.starts.tolist() == [0, 6]
