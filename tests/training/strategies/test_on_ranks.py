"""Every strategy on two real processes, against the same training on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from seqrec.training.strategies import family_of, refusals

BACKGROUND = {"selection.save_in_background": "true"}
STEPS = 12
CUT = 5
SHARDED = ("fsdp2", "fsdp2_offload", "deepspeed_stage_1", "deepspeed_stage_2", "zero3.json", "catalogue_parallel")
# stage 3 keeps tensors below this many elements whole, and all of a tiny model's are
ZERO_3 = {"zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0}}

BACKBONE = {"kind": "gpt2", "layers": 2, "heads": 2, "width": 16, "dropout": 0.1}
KINDS: dict[str, dict[str, Any]] = {
    # four slots a step: accumulated on one process and on two
    "full": {
        "data": {"partitions": 4},
        "model": {"users": {"categories": ["band"], "numbers": ["age"]}},
        "trainer": {"gradient_clip_val": 0.5},
    },
    "lora": {
        "model": {
            "backbone": BACKBONE | {"trainable": False, "activation_checkpointing": True},
            "adapter": {"kind": "lora", "rank": 4},
        }
    },
    # fewer rows than ranks now and then, which leaves one with a filler
    "thin": {"data": {"partitions": 1, "step_tokens": 8}},
    "bf16": {"trainer": {"precision": "bf16-mixed"}},
    # further copies of the batch, and ranks that gather their users
    "auxiliary": {"model": {"auxiliary": {"contrastive": {"weight": 1.0}, "masked_events": {}}}},
}
REFUSED = {("catalogue_parallel", "auxiliary")}
PAIRS = [(name, kind) for name in SHARDED for kind in KINDS if (name, kind) not in REFUSED]
# largest difference of a loss: float32 sums in another order; bfloat16 has three digits, and DeepSpeed sums in it
BOUNDS = {"full": 1e-4, "lora": 1e-4, "thin": 1e-4, "bf16": 2e-2, "auxiliary": 1e-4}


def recipe(store: Path, kind: str, strategy: str, **trainer: Any) -> dict[str, Any]:
    values: dict[str, dict[str, Any]] = {
        "data": {"store": str(store), "split": {"kind": "leave_one_out", "seen": "allow"}, "max_length": 20,
                 "step_tokens": 512, "prefetch_threads": 0},
        "model": {"items": {"width": 16}, "backbone": BACKBONE},
        "optimizer": {"kind": "adamw", "lr": 0.02},
        "trainer": {"max_steps": STEPS, "accelerator": "cpu", "devices": 2, "strategy": strategy,
                    "log_every_n_steps": 0, "enable_progress_bar": False},
    }  # fmt: skip
    for section, changes in KINDS[kind].items():
        values[section] |= changes
    values["trainer"] |= trainer
    return {"name": "tiny", "seed": 1, "loggers": [], **values}


def cases(store: Path, folder: Path) -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        made[f"one-{kind}"] = {"recipe": recipe(store, kind, "auto", devices=1)}
        for name in (name for name, of in PAIRS if of == kind):
            strategy = str(folder / name) if name.endswith(".json") else name
            if kind != "full":
                made[f"{name}-{kind}"] = {"recipe": recipe(store, kind, strategy)}
                continue
            cut = recipe(store, kind, strategy, max_steps=CUT)
            if not refusals(family_of(strategy), BACKGROUND):
                cut["selection"] = {"save_every_steps": 2, "save_in_background": True}
            made[f"{name}-cut"] = {"recipe": cut}
            saved = f"runs/{name}-cut/checkpoints/step-{CUT}/state"
            made[f"{name}-full"] = {"recipe": recipe(store, kind, strategy), "resume": saved}
    for name, strategy, devices in (("one", "auto", 1), ("fsdp2", "fsdp2", 2)):
        options = {"devices": devices, "max_steps": 2, "gradient_clip_val": 1e-3, "limit_val_batches": 0}
        made[f"{name}-float64"] = {"recipe": recipe(store, "full", strategy, **options), "float64": True}
    return made


@pytest.fixture(scope="module")
def trained(shop_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strategies")
    (folder / "zero3.json").write_text(json.dumps(ZERO_3))
    (folder / "cases.json").write_text(json.dumps(cases(shop_store, folder)))
    script = Path(__file__).with_name("on_ranks.py")
    done = subprocess.run(
        [sys.executable, script, folder],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return folder


def losses(folder: Path, name: str) -> list[float]:
    found: list[float] = json.loads((folder / f"{name}.json").read_text())
    return found


def difference(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("strategy", "kind"), [pair for pair in PAIRS if pair[1] != "full"])
def test_losses_are_those_of_one_process(trained: Path, strategy: str, kind: str) -> None:
    expected = losses(trained, f"one-{kind}")
    assert len(expected) == STEPS
    assert max(expected) > 1.02 * min(expected)
    assert difference(losses(trained, f"{strategy}-{kind}"), expected) < BOUNDS[kind]


@pytest.mark.parametrize("strategy", SHARDED)
def test_a_continued_run_goes_on_as_one_process_does(trained: Path, strategy: str) -> None:
    """Accumulated, and saved within an epoch; optimizer states that were lost would show in its first losses."""
    expected = losses(trained, "one-full")
    assert max(expected) > 1.1 * min(expected)
    assert difference(losses(trained, f"{strategy}-cut"), expected[:CUT]) < BOUNDS["full"]
    assert difference(losses(trained, f"{strategy}-full"), expected[CUT:]) < BOUNDS["full"]


def test_shards_have_the_clipped_gradient_of_the_global_batch(trained: Path) -> None:
    expected: Mapping[str, torch.Tensor] = torch.load(trained / "one-float64.pt")
    found: Mapping[str, torch.Tensor] = torch.load(trained / "fsdp2-float64.pt")
    assert found.keys() == expected.keys()
    whole = float(torch.stack([gradient.norm() for gradient in expected.values()]).norm())
    assert whole == pytest.approx(1e-3, rel=1e-3)  # it was clipped
    for name, gradient in expected.items():
        assert gradient.dtype == torch.float64
        assert float((found[name] - gradient).norm()) <= 1e-12 * whole, name
