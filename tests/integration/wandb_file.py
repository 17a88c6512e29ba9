"""What wandb has written for an offline run: its records lie in the log format of LevelDB."""

from __future__ import annotations

import json
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK, _HEADER = 32768, 7


def logged_steps(run: Path) -> list[int]:
    """The steps that one start of a run has logged, in their order; ``run`` is its folder."""
    (file,) = run.glob("*.wandb")
    data, steps, parts = file.read_bytes(), [], b""
    at = _HEADER  # wandb's own, before the first record
    while at + _HEADER <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record, parts = Record.FromString(parts), b""
            values = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            if "trainer/global_step" in values and "train_loss" in values:
                steps.append(int(json.loads(values["trainer/global_step"])))
    return steps
