from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from seqrec.errors import RunError, StoreError, UnsupportedError
from seqrec.models import NextItemSettings, build_head
from seqrec.stream import DataSettings, Position, SequenceDataModule, TrainingBatch

from .threads import assert_no_workers, workers

Build = Callable[..., SequenceDataModule]


@pytest.fixture
def build(store_in_units: Path) -> Build:
    def make(*, seed: int = 1, **changes: Any) -> SequenceDataModule:
        settings = DataSettings.model_validate(
            {"store": str(store_in_units), "max_length": 20, "step_tokens": 256} | changes
        )
        return SequenceDataModule(settings, build_head(NextItemSettings()), seed=seed, max_history=20)

    return make


def positions(data: SequenceDataModule) -> list[Position]:
    return [batch.position for batch in data.train_dataloader()]


def test_a_position_comes_back_in_a_fresh_datamodule(build: Build) -> None:
    data, fresh = build(), build()
    data.position = Position(3, 2)
    state = data.state_dict()
    assert {type(value) for value in state.values()} == {int, str}
    fresh.load_state_dict(state)
    assert fresh.position == Position(3, 2)
    assert positions(fresh) == [Position(3, step) for step in range(2, fresh.training.n_steps)]
    assert len(fresh.train_dataloader()) == fresh.training.n_steps  # Lightning counts what was done before


def test_a_loader_begins_where_the_position_is_when_it_is_iterated(build: Build) -> None:
    data = build()
    loader = data.train_dataloader()
    data.position = Position(1, 1)
    first: TrainingBatch = next(iter(loader))
    assert first.position == Position(1, 1)


def test_a_position_in_another_order_is_refused_with_both_names(build: Build) -> None:
    data, other = build(), build(seed=2)
    with pytest.raises(RunError) as caught:
        other.load_state_dict(data.state_dict())
    text = str(caught.value)
    assert data.training.fingerprint in text
    assert other.training.fingerprint in text
    assert "step_tokens" in text
    assert other.position == Position(0, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"limit_train_batches": 0.5},
        {"limit_train_batches": 1},  # one batch, not all
        {"limit_train_batches": 3},
        {"overfit_batches": 1},
        {"fast_dev_run": True},
    ],
)
def test_part_of_an_epoch_is_refused(build: Build, arguments: dict[str, Any]) -> None:
    data = build()
    data.trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **arguments)
    with pytest.raises(UnsupportedError, match=r"(?s)trainer\.limit_train_batches: .*max_steps"):
        data.setup("fit")


def test_accumulation_must_be_what_the_partitions_need(build: Build) -> None:
    data = build(partitions=3)
    data.trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(UnsupportedError, match=r"(?s)accumulate_grad_batches: .*3 partitions.*set it to 3"):
        data.setup("fit")
    data.trainer.accumulate_grad_batches = 3
    data.setup("fit")
    data.trainer.accumulate_grad_batches = 1
    data.setup("validate")  # evaluating takes no steps


def test_no_store_is_said_at_once(build: Build, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a sequence store"):
        build(store=str(tmp_path))


def test_evaluation_loaders_take_every_user(build: Build) -> None:
    data = build()
    for part, loader in (("validation", data.val_dataloader()), ("test", data.test_dataloader())):
        assert sum(len(batch.rows) for batch in loader) == data.evaluation(part).counts.users > 100


class Watching(L.LightningModule):
    """Trains nothing, and notes what it is given and how many threads give it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.positions: list[Position] = []
        self.most_threads = 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> torch.Tensor:
        self.positions.append(batch.position)
        self.most_threads = max(self.most_threads, len(workers()))
        self.trainer.datamodule.position = batch.after  # type: ignore[attr-defined]
        return self.weight * 1.0

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass


def test_lightning_takes_every_step_of_every_epoch_and_leaves_no_thread(build: Build) -> None:
    data, module = build(step_tokens=64, prefetch_threads=2), Watching()
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(accelerator="cpu", max_epochs=3, val_check_interval=0.5, enable_model_summary=False, **quiet)
    trainer.fit(module, data)
    n_steps = data.training.n_steps
    assert module.positions == [Position(epoch, step) for epoch in range(3) for step in range(n_steps)]
    assert 1 <= module.most_threads <= 4  # those of the epoch before may still be ending
    assert_no_workers()
