"""Position, counters and metrics of runs built by hand."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger

from seqrec.errors import RunError, UnsupportedError
from seqrec.recipe import build_data, build_recipe_model, parse_recipe
from seqrec.stream import SequenceDataModule, TrainingBatch
from seqrec.training import KeepPosition, OptimizerSettings, SequenceRecommender, StepMetrics
from seqrec.training.callbacks import _count_micro_batches

Make = Callable[[], tuple[SequenceRecommender, SequenceDataModule]]
EPOCHS = 2


@pytest.fixture
def make(recipe_values: dict[str, Any], store_in_units: Path) -> Make:
    """A module and a datamodule of two micro-batches a step."""
    values = recipe_values | {"data": recipe_values["data"] | {"store": str(store_in_units), "partitions": 2}}
    recipe = parse_recipe(values, where="test")

    def parts() -> tuple[SequenceRecommender, SequenceDataModule]:
        data = build_data(recipe)
        total = EPOCHS * data.training.n_steps
        torch.manual_seed(0)
        model = build_recipe_model(recipe, data.store, total_steps=total)
        return SequenceRecommender(model, OptimizerSettings(schedule="linear"), seed=1, total_steps=total), data

    return parts


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    def make(**arguments: Any) -> L.Trainer:
        common = {"accelerator": "cpu", "accumulate_grad_batches": 2, "default_root_dir": tmp_path, "logger": False}
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        return L.Trainer(**(common | quiet | {"max_epochs": EPOCHS} | arguments))

    return make


class Rows(Callback):
    def __init__(self) -> None:
        self.taken: list[tuple[int, int]] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: TrainingBatch, batch_idx: int
    ) -> None:
        self.taken += [(batch.position.epoch, row) for row in batch.rows.tolist()]


@pytest.mark.parametrize("stop", ["within the first epoch", "at its end", "within the second"])
def test_a_run_that_max_steps_ended_goes_on_as_if_it_had_not(
    make: Make, trainer: Callable[..., L.Trainer], tmp_path: Path, stop: str, recwarn: pytest.WarningsRecorder
) -> None:
    module, data = make()
    n_steps = data.training.n_steps
    assert n_steps > 2
    steps = {"within the first epoch": 2, "at its end": n_steps, "within the second": n_steps + 1}[stop]
    first, second = Rows(), Rows()
    cut = trainer(max_steps=steps, callbacks=[first])
    cut.fit(module, data)
    assert cut.global_step == steps
    cut.save_checkpoint(tmp_path / "cut.ckpt")
    module, data = make()
    rest = trainer(callbacks=[second])
    rest.fit(module, data, ckpt_path=tmp_path / "cut.ckpt")
    assert (rest.global_step, rest.current_epoch, data.position) == (EPOCHS * n_steps, EPOCHS, (EPOCHS, 0))
    assert not [warning for warning in recwarn if "not resumable" in str(warning.message)]
    taken = first.taken + second.taken
    assert len(set(taken)) == len(taken) == EPOCHS * data.training.n_rows
    whole, stream = make()
    trainer().fit(whole, stream)
    for (name, weight), other in zip(whole.state_dict().items(), module.state_dict().values(), strict=True):
        torch.testing.assert_close(other, weight, rtol=0, atol=0, msg=name)


def test_a_checkpoint_of_another_class_of_datamodule_is_refused(
    make: Make, trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    """Lightning finds its state by the name of the class, and else goes on without."""

    class Renamed(SequenceDataModule):
        pass

    one = trainer(max_steps=1)
    one.fit(*make())
    one.save_checkpoint(tmp_path / "cut.ckpt")
    module, data = make()
    data.__class__ = Renamed
    with pytest.raises(RunError, match=r"(?s)cut.ckpt: no position of a datamodule `.*Renamed`.*`--fresh`"):
        trainer().fit(module, data, ckpt_path=tmp_path / "cut.ckpt")


def test_a_trainer_that_stopped_within_an_epoch_is_not_used_again(
    make: Make, trainer: Callable[..., L.Trainer]
) -> None:
    """Without a checkpoint Lightning would take the rest of the epoch for a whole one."""
    module, data = make()
    one = trainer(max_steps=2)
    one.fit(module, data)
    one.fit_loop.epoch_loop.max_steps = 5
    with pytest.raises(RunError, match=r"(?s)do not stand at the same place.*ckpt_path"):
        one.fit(module, data)


def test_a_datamodule_that_has_been_trained_on_is_not_used_again(make: Make, trainer: Callable[..., L.Trainer]) -> None:
    module, data = make()
    trainer(max_epochs=1).fit(module, data)
    with pytest.raises(RunError, match=r"(?s)data: +epoch 1, step \d+, micro-batch 0.*new datamodule"):
        trainer().fit(make()[0], data)


def test_a_distributed_sampler_is_refused() -> None:
    two = L.Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_checkpointing=False)
    module = L.LightningModule()
    with pytest.raises(UnsupportedError, match=r"use_distributed_sampler=False"):
        KeepPosition().setup(two, module, "fit")
    KeepPosition().setup(two, module, "validate")


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 100), st.data())
def test_counters_are_moved_to_another_number_of_micro_batches(saved: int, now: int, steps: int, data: Any) -> None:
    rest = data.draw(st.integers(0, saved - 1))
    done = steps * saved + rest
    saved_by_hook = data.draw(st.booleans()) and done > 0
    counts = {"ready": done, "started": done, "processed": done, "completed": done - saved_by_hook}
    _count_micro_batches({"total": counts, "current": dict(counts)}, saved, now)
    assert counts["ready"] == counts["started"] == counts["processed"] == steps * now
    assert counts["completed"] == steps * now - (saved_by_hook and rest == 0)


def test_the_loss_is_logged_at_the_steps_that_lightning_logs(
    make: Make, trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    """The mean over the targets of the step, both of its micro-batches."""
    summed: list[tuple[float, int]] = []
    filled: list[tuple[int, int]] = []

    class Losses(Callback):
        def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, _: int) -> None:
            summed.append((float(outputs["loss_sum"]), int((batch.targets != 0).sum())))
            filled.append((int((batch.inputs != 0).sum()), batch.inputs.numel()))

    module, data = make()
    logger = CSVLogger(tmp_path, name="", version="csv")
    trainer(logger=logger, log_every_n_steps=2, callbacks=[StepMetrics(), Losses()]).fit(module, data)
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        logged = {int(row["step"]): row for row in csv.DictReader(file) if row["train_loss"]}
    assert sorted(logged) == list(range(1, EPOCHS * data.training.n_steps, 2))
    for step, row in logged.items():
        (loss, targets), (more_loss, more_targets) = summed[2 * step : 2 * step + 2]
        assert float(row["train_loss"]) == pytest.approx((loss + more_loss) / (targets + more_targets), rel=1e-6)
        assert float(row["tokens/s"]) > 0
        epoch_start = step // data.training.n_steps * data.training.n_steps
        events, positions = map(sum, zip(*filled[2 * epoch_start : 2 * step + 2], strict=True))
        assert float(row["padding_share"]) == pytest.approx(1 - events / positions, abs=1e-6)
        assert 0.05 < float(row["peak_memory_gib"]) < 64
