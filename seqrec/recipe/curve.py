"""The training curve of a run, from what its CSV logger wrote."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from seqrec.evaluation import CurvePoint
from seqrec.training import VALIDATION_PREFIX


def training_curve(folder: Path, metric: str) -> tuple[CurvePoint, ...]:
    """Loss and validation metric by step.

    A run that was continued has one CSV file a start; a step that was done twice counts as done last.

    Args:
        folder: the run folder.
        metric: as `ndcg@10`.
    Returns:
        Points by step; empty where the run has no CSV logger.
    """
    loss: dict[int, float] = {}
    valid: dict[int, float] = {}
    for row in logged_rows(folder):
        step = int(row["step"])
        if text := row.get("train_loss"):
            loss[step] = float(text)
        if text := row.get(VALIDATION_PREFIX + metric):
            valid[step] = float(text)
    steps = sorted(loss.keys() | valid.keys())
    return tuple(CurvePoint(step, train_loss=loss.get(step), valid=valid.get(step)) for step in steps)


def logged_rows(folder: Path) -> Iterator[dict[str, str]]:
    """What the CSV logger of a run wrote, line by line over all its starts; none where the run has no such logger."""
    files = folder.glob("csv/version_*/metrics.csv")
    for file in sorted(files, key=lambda file: int(file.parent.name.rpartition("_")[2])):
        with file.open(newline="") as lines:
            yield from csv.DictReader(lines)
