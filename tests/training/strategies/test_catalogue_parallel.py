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


def recipe(values: dict[str, Any], store: Path, name: str) -> dict[str, Any]:
    loss, head, partitions, step_tokens, updates, precision = CASES[name]
    split = {"kind": "leave_one_out", "seen": "filter" if head == "next_item" else "allow"}
    data = {"store": str(store), "split": split, "partitions": partitions, "step_tokens": step_tokens}
    kind = {"next_item": "gpt2", "masked_item": "bert"}[head]
    backbone = {"kind": kind, "layers": 1, "heads": 2, "width": 16, "dropout": 0.2}
    model = {"items": {"width": 16}, "backbone": backbone, "head": {"kind": head}, "loss": loss}
    trainer = {"max_steps": 2, "precision": precision}
    sections = {"data": {"max_length": 20, "evaluation_tokens": 200} | data, "model": model, "trainer": trainer}
    return {"name": "tiny", "seed": 1, "optimizer": {"table_updates": updates}} | sections


@pytest.fixture(scope="module")
def recorded(store_in_units: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `catalogue_on_ranks.py` left of all cases."""
    folder = tmp_path_factory.mktemp("catalogue")
    (folder / "cases.json").write_text(json.dumps({name: recipe({}, store_in_units, name) for name in CASES}))
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
