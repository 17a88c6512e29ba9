"""The item table in shards on 1, 2 and 3 real processes, against one process with the whole table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from seqrec.errors import UnsupportedError
from seqrec.evaluation import evaluate
from seqrec.recipe import Run, export_run
from seqrec.training import read_checkpoint
from seqrec.training.catalogue import Shard, sharded_loss

FULL = {"kind": "full_softmax"}
SAMPLED = {"kind": "sampled_softmax", "negatives": {"uniform": 8, "in_batch": 8}}
GBCE = {"kind": "gbce", "negatives": {"uniform": 8}}
# loss, head and its backbone, partitions, events of a step, row updates, precision: with thin steps some ranks have no
# target; six partitions make micro-batches on any number of ranks
CASES: dict[str, tuple[dict[str, Any], str, int, int, str, str]] = {
    "full": (FULL, "next_item", 1, 256, "all", "64-true"),
    "full-float32": (FULL, "next_item", 1, 256, "all", "32-true"),
    "full-thin-micro-batches": (FULL, "masked_item", 4, 16, "all", "64-true"),
    "sampled": (SAMPLED, "masked_item", 6, 256, "all", "64-true"),
    "sampled-thin": (SAMPLED, "next_item", 1, 16, "all", "64-true"),
    "sampled-float32": (SAMPLED, "next_item", 1, 256, "all", "32-true"),
    "rows": (GBCE, "next_item", 6, 256, "rows", "64-true"),
}
# the norm of a tensor's difference, as it is and as a part of the whole gradient's norm
BOUNDS = {"32-true": 1e-6, "64-true": 1e-12}


def recipe(store: Path, name: str) -> dict[str, Any]:
    loss, head, partitions, step_tokens, updates, precision = CASES[name]
    split = {"kind": "leave_one_out", "seen": "filter" if head == "next_item" else "allow"}
    data = {"store": str(store), "split": split, "partitions": partitions, "step_tokens": step_tokens}
    kind = {"next_item": "gpt2", "masked_item": "bert"}[head]
    backbone = {"kind": kind, "layers": 1, "heads": 2, "width": 16, "dropout": 0.2}
    model = {"items": {"width": 16}, "backbone": backbone, "head": {"kind": head}, "loss": loss}
    trainer = {"max_steps": 2, "precision": precision}
    sections = {"data": {"max_length": 20, "evaluation_tokens": 200} | data, "model": model, "trainer": trainer}
    return {"name": "tiny", "seed": 1, "optimizer": {"table_updates": updates}} | sections


def run_recipe(store: Path) -> dict[str, Any]:
    """One whose learning rate changes weights, with clipping of sparse gradients."""
    values = recipe(store, "sampled")
    trainer = {"accelerator": "cpu", "gradient_clip_val": 0.3, "log_every_n_steps": 0}
    optimizer = {"lr": 0.02, "table_updates": "rows"}
    return values | {"optimizer": optimizer, "loggers": [], "trainer": values["trainer"] | trainer}


@pytest.fixture(scope="module")
def recorded(store_in_units: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `catalogue_on_ranks.py` left of all cases."""
    folder = tmp_path_factory.mktemp("catalogue")
    (folder / "cases.json").write_text(json.dumps({name: recipe(store_in_units, name) for name in CASES}))
    (folder / "run.json").write_text(json.dumps(run_recipe(store_in_units)))
    script = Path(__file__).with_name("catalogue_on_ranks.py")
    done = subprocess.run(
        [sys.executable, script, folder], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("name", CASES)
def test_shards_make_the_gradient_of_the_whole_table(recorded: Path, name: str, ranks: int) -> None:
    bound = BOUNDS[CASES[name][-1]]
    expected, found = (torch.load(recorded / f"{name}-{n}.pt")["gradients"] for n in (0, ranks))
    assert len(expected) == len(found) == 2
    for step, (by_one, by_shards) in enumerate(zip(expected, found, strict=True)):
        assert by_shards.keys() == by_one.keys()
        whole = float(torch.stack([gradient.double().norm() for gradient in by_one.values()]).norm())
        assert whole > 1e-2
        for tensor, gradient in by_one.items():
            difference = float((by_shards[tensor].double() - gradient.double()).norm())
            assert difference <= bound * min(1.0, whole), f"{tensor} at step {step}: {difference}"


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("name", CASES)
def test_shards_make_the_ranks_of_the_whole_table(recorded: Path, name: str, ranks: int) -> None:
    expected, found = (torch.load(recorded / f"{name}-{n}.pt")["metrics"] for n in (0, ranks))
    assert expected["val/hr@10"] > 0
    assert found == expected


@pytest.mark.parametrize("ranks", [0, 3])
def test_a_run_goes_on_under_another_strategy_and_number_of_ranks(recorded: Path, ranks: int) -> None:
    """Saved on two ranks, it ends with the weights and averages of one that knew no shards."""
    expected, found = (read_checkpoint(recorded / f"{name}.ckpt") for name in ("whole", ranks))
    assert found["global_step"] == expected["global_step"] == 8
    assert found["state_dict"].keys() == expected["state_dict"].keys()
    for name, weight in expected["state_dict"].items():
        torch.testing.assert_close(found["state_dict"][name], weight, rtol=0, atol=1e-9, msg=name)
    states, others = (checkpoint["optimizer_states"][0]["state"] for checkpoint in (expected, found))
    assert others.keys() == states.keys()
    for place, state in states.items():
        for name, value in state.items():
            torch.testing.assert_close(others[place][name], value, rtol=0, atol=1e-9, msg=f"{place} {name}")


def test_a_run_is_evaluated_and_exported_like_any_other(recorded: Path, tmp_path: Path) -> None:
    run = Run.open(recorded / "runs/tiny")
    assert run.result is not None
    assert run.result["parameters"]["item_table"] == 60 * 16
    result = evaluate(run.model, run.data, part="validation", accelerator="cpu")
    assert result is not None
    assert result.model["ndcg@10"].value == run.result["best"]["val/ndcg@10"]
    assert export_run(run, tmp_path / "bundle").is_dir()


@pytest.mark.parametrize(("n_items", "world_size", "runs"), [(10, 3, [4, 4, 2]), (9, 3, [3, 3, 3]), (7, 1, [7])])
def test_shards_are_runs_of_rows(n_items: int, world_size: int, runs: list[int]) -> None:
    shards = [Shard(n_items, rank, world_size) for rank in range(world_size)]
    assert [shard.stop - shard.first for shard in shards] == runs
    assert [shard.first for shard in shards] == [0, *[shard.stop for shard in shards[:-1]]]
    counts = shards[0].counts_by_owner(torch.arange(n_items))
    assert counts.tolist() == runs


def test_ranks_without_items_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="5 items in runs of 2 leave one of 4 ranks without any"):
        Shard(5, 0, 4)


def test_a_loss_of_ones_own_is_refused() -> None:
    class Own(torch.nn.Module):
        negatives = None

    with pytest.raises(UnsupportedError, match="Own expects the whole item table"):
        sharded_loss(Own(), Shard(5, 0, 1))
