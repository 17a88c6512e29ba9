"""CSV, TensorBoard and wandb (offline) of a run of two processes that is told to stop, and continued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seqrec.recipe import build_data, parse_recipe, training_curve

from .command import run as run_command
from .wandb_file import logged_steps
from .workplace import SCRIPT

FIGURES = {"train_loss", "tokens/s", "padding_share", "peak_memory_gib", "val/ndcg@10"}


def test_a_run_that_is_told_to_stop_continues_its_curves(
    write_recipe: Callable[..., Path], recipe_values: dict[str, Any], store_in_units: Path, tmp_path: Path
) -> None:
    """SIGTERM reaches one of two processes, within the second epoch; both save at the end of the same step."""
    loggers = [{"kind": "csv"}, {"kind": "tensorboard"}, {"kind": "wandb", "project": "tests", "offline": True}]
    trainer = recipe_values["trainer"] | {"devices": 2, "strategy": "ddp"}
    data = recipe_values["data"] | {"store": str(store_in_units), "step_tokens": 150}
    changes = {"loggers": loggers, "trainer": trainer, "data": data, "selection": {"patience": None}}
    recipe = write_recipe(**changes)
    n_steps = build_data(parse_recipe(recipe_values | changes, where="test")).training.n_steps
    total, stop = 2 * n_steps, n_steps + 1
    run = tmp_path / "runs/tiny"

    environment = os.environ | {"CONSUMED": str(tmp_path), "HOLD": str(stop), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), "fit", str(recipe)]
    first = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    while not any(f'"step": {stop}, "rank": 0' in log.read_text() for log in tmp_path.glob("*.jsonl")):
        assert first.poll() is None
        time.sleep(0.2)
    first.send_signal(signal.SIGTERM)
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 75, errors
    assert f"PreemptedError: told to stop, and saved after step {stop + 3}" in errors
    assert not (run / "result.json").exists()
    run_command([sys.executable, "-m", "seqrec", "fit", str(recipe)], cwd=tmp_path, OMP_NUM_THREADS="1")

    curve = training_curve(run, "ndcg@10")
    assert [point.step for point in curve if point.train_loss is not None] == list(range(total))
    assert sum(point.valid is not None for point in curve) == 2

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) >= FIGURES
    assert [event.step for event in events.Scalars("train_loss")] == list(range(total))

    # one run, not one a process or a start, whose second part begins where the first ended
    parts = sorted((run / "wandb").glob("offline-run-*"))
    assert {part.name.rpartition("-")[2] for part in parts} == {(run / "run.id").read_text()}
    assert [logged_steps(part) for part in parts] == [list(range(stop + 3)), list(range(stop + 3, total))]
