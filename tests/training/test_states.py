"""States that ranks saved in parts, read whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
import yaml
from safetensors import safe_open
from torch import Tensor

from seqrec.errors import RunError
from seqrec.recipe import Run, consolidate, fit, parse_recipe
from seqrec.training import read_checkpoint, read_state, weights_of
from seqrec.training.folders import Record, SavedCheckpoint, commit


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def shard(checkpoint: SavedCheckpoint, world_size: int = 2) -> None:
    """Saves it again in the form of Lightning's sharded strategies."""
    saved, record = read_checkpoint(checkpoint.state), checkpoint.record
    temporary = checkpoint.folder.with_name(checkpoint.folder.name + ".tmp")
    optimizer = {"state": dict(enumerate(saved["optimizer_states"][0]["state"].values()))}
    state = temporary / "state"
    dcp.save(
        {"state_dict": saved.pop("state_dict"), "optimizer_0": optimizer},
        storage_writer=dcp.FileSystemWriter(state),
        no_dist=True,
    )
    del saved["optimizer_states"]
    torch.save(saved, state / "meta.pt")
    commit(temporary, Record(record.step, world_size, "ModelParallelStrategy", record.best, {}))


def test_a_sharded_run_is_evaluated_and_consolidated_as_one_file(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    values = recipe_values | {"selection": {"patience": None, "keep": 9}}
    run = fit(parse_recipe(values, where="test"), runs=tmp_path)
    best = run.best
    weights, saved = run.model.state_dict(), weights_of(read_checkpoint(best.state))
    one = consolidate(run, out=tmp_path / "one.safetensors")

    shard(best)
    again = Run.open(run.folder)
    assert again.best.state.is_dir()
    assert equal(again.model.state_dict(), weights)
    assert "optimizer_0" not in read_state(again.best.state)
    other = consolidate(again, checkpoint=best.folder.name)
    assert other == run.folder / f"step-{best.step}.safetensors"
    for path, strategy in ((one, "SingleDeviceStrategy"), (other, "ModelParallelStrategy")):
        with safe_open(path, "pt") as file:
            assert equal({name: file.get_tensor(name) for name in file.keys()}, saved)  # noqa: SIM118 - no mapping
            metadata = file.metadata()
        assert (metadata["step"], metadata["strategy"]) == (str(best.step), strategy)
        assert parse_recipe(yaml.safe_load(metadata["recipe"]), where="file") == run.recipe
    with pytest.raises(RunError, match=r"(?s)one\.safetensors: exists already.*--out"):
        consolidate(run, out=one)
    with pytest.raises(RunError, match=r"(?s)step-999: not a whole checkpoint: no complete\.json.*others: +step-"):
        consolidate(run, checkpoint="step-999")


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with pytest.raises(RunError, match=r"state: not a state of a form that seqrec knows"):
        read_state(state)
    dcp.save({"state_dict": {"a": torch.ones(3)}}, storage_writer=dcp.FileSystemWriter(state), no_dist=True)
    with pytest.raises(RunError, match=r"(?s)state: cannot read the checkpoint.*meta\.pt"):
        read_state(state)
    shutil.rmtree(state)
