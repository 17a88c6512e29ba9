"""The learning rate by step, and what is trained."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from seqrec.training import OptimizerSettings
from seqrec.training.optimizer import build_optimizer, build_schedule

TOTAL = 10


def rates(**settings: Any) -> list[float]:
    """The rate at each step of a training of ten."""
    chosen = OptimizerSettings(lr=0.1, **settings)
    optimizer = build_optimizer(chosen, [nn.Parameter(torch.ones(1))])
    schedule = build_schedule(chosen, optimizer, TOTAL)
    found = []
    for _ in range(TOTAL):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("schedule", "after_warm_up"),
    [
        ("constant", [0.1] * 8),
        ("linear", [0.1 * (1 - done / 8) for done in range(8)]),
        ("cosine", [0.05 * (1 + math.cos(math.pi * done / 8)) for done in range(8)]),
    ],
)
def test_the_rate_rises_and_then_falls_to_zero_after_the_last_step(schedule: str, after_warm_up: list[float]) -> None:
    assert rates(schedule=schedule, warmup_steps=2) == pytest.approx([0.0, 0.05, *after_warm_up])


def test_the_rate_is_constant_unless_told_otherwise() -> None:
    assert rates() == [0.1] * TOTAL


@pytest.mark.parametrize(("kind", "decoupled"), [("adam", False), ("adamw", True)])
def test_only_what_is_trained_is_given_to_the_optimizer(kind: str, decoupled: bool) -> None:
    trained, frozen = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3), requires_grad=False)
    settings = OptimizerSettings(kind=kind, lr=0.5, betas=(0.1, 0.2), weight_decay=0.3)
    optimizer = build_optimizer(settings, [trained, frozen])
    assert type(optimizer) is torch.optim.Adam
    (group,) = optimizer.param_groups
    assert group["decoupled_weight_decay"] is decoupled
    assert group["params"] == [trained]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.5, (0.1, 0.2), 0.3)


@pytest.mark.parametrize("kind", ["adam", "adamw", "adagrad"])
def test_a_step_on_a_cpu_is_one_pass_with_the_same_outcome(kind: str) -> None:
    settings = OptimizerSettings(kind=kind, lr=0.1, weight_decay=0.2)
    weights = [nn.Parameter(torch.linspace(-1, 1, 50, dtype=torch.float64)) for _ in range(2)]
    fused, plain = (build_optimizer(settings, [weight]) for weight in weights)
    assert fused.param_groups[0]["fused"]
    plain.param_groups[0]["fused"] = False
    for step in range(3):
        for weight, optimizer in zip(weights, (fused, plain), strict=True):
            weight.grad = torch.linspace(step, 3, 50, dtype=torch.float64)
            optimizer.step()
    torch.testing.assert_close(*weights, rtol=1e-13, atol=1e-13)


def test_the_item_table_can_decay_apart() -> None:
    table, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    settings = OptimizerSettings(weight_decay=0.3, table_weight_decay=0.0)
    groups = build_optimizer(settings, [table, other], table=table).param_groups
    assert [(group["params"], group["weight_decay"]) for group in groups] == [([other], 0.3), ([table], 0.0)]


def test_the_item_table_can_learn_at_a_rate_of_its_own() -> None:
    table, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    settings = OptimizerSettings(lr=0.1, table_lr=0.4, schedule="linear", warmup_steps=1)
    optimizer = build_optimizer(settings, [table, other], table=table)
    schedule = build_schedule(settings, optimizer, total_steps=3)
    found = []
    for _ in range(3):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert found == [pytest.approx(rates) for rates in ([0.0, 0.0], [0.1, 0.4], [0.05, 0.2])]
    assert [group["params"] for group in optimizer.param_groups] == [[other], [table]]


def test_adagrad() -> None:
    settings = OptimizerSettings(kind="adagrad", lr=0.5, weight_decay=0.1)
    optimizer = build_optimizer(settings, [nn.Parameter(torch.ones(2))])
    assert type(optimizer) is torch.optim.Adagrad
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.1)
    with pytest.raises(ValidationError, match="`table_updates: rows` is Adam's"):
        OptimizerSettings(kind="adagrad", table_updates="rows")


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"schedule": "cosine"}, "`schedule: cosine` is what"),
        ({"table_updates": "rows"}, "`table_updates: rows` is Adam's"),
        ({"ema": 0.9}, "averages the weights itself"),
        ({"betas": (0.0, 0.9)}, r"set `betas\[0\]` above 0"),
    ],
)
def test_what_schedule_free_does_without_is_refused(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        OptimizerSettings(kind="schedule_free_adamw", **settings)


def test_schedule_free_warms_up_like_the_others() -> None:
    found = rates(kind="schedule_free_adamw", warmup_steps=2)
    assert found == pytest.approx([0.0, 0.05, *[0.1] * 8])
