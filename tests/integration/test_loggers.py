"""CSV, TensorBoard and wandb (offline) from a run of two processes, and after it is continued."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seqrec.recipe import training_curve

from .command import seqrec


def test_loggers_of_two_processes(
    write_recipe: Callable[..., Path], recipe_values: dict[str, Any], tmp_path: Path
) -> None:
    loggers = [{"kind": "csv"}, {"kind": "tensorboard"}, {"kind": "wandb", "project": "tests", "offline": True}]
    trainer = recipe_values["trainer"] | {"devices": 2, "strategy": "ddp"}
    recipe = write_recipe(loggers=loggers, trainer=trainer)
    seqrec("fit", recipe, cwd=tmp_path)
    run = tmp_path / "runs/tiny"

    curve = training_curve(run, "ndcg@10")
    losses = {point.step: point.train_loss for point in curve if point.train_loss is not None}
    assert len(losses) >= 6
    assert sum(point.valid is not None for point in curve) == 2

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert {"train_loss", "tokens/s", "val/ndcg@10"} <= set(events.Tags()["scalars"])
    assert len(events.Scalars("train_loss")) == len(losses)

    identity = (run / "run.id").read_text()
    (folder,) = (run / "wandb").glob("offline-run-*")  # one run, not one a process
    assert folder.name.endswith(identity)

    # a run that was stopped before it ended continues under the same id
    (run / "result.json").unlink()
    seqrec("fit", recipe, cwd=tmp_path)
    assert {f.name.rpartition("-")[2] for f in (run / "wandb").glob("offline-run-*")} == {identity}
    assert {p.step: p.train_loss for p in training_curve(run, "ndcg@10") if p.train_loss is not None} == losses
