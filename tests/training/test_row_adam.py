"""Adam over rows against torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqrec.training.optimizer import OptimizerSettings, build_optimizer, build_schedule
from seqrec.training.row_adam import RowAdam, touched

N, D = 6, 3
KINDS: list[dict[str, Any]] = [
    {"weight_decay": 0.0},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decoupled_weight_decay": True},
]


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64)) for shape in ((N, D), (4,))]


def sparse(rows: list[int], seed: int) -> Tensor:
    values = torch.randn(len(rows), D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, (N, D), check_invariants=False)


def step(optimizer: torch.optim.Optimizer, rows: list[int], seed: int, *, dense: bool = False) -> None:
    table, bias = optimizer.param_groups[0]["params"]
    gradient = sparse(rows, seed)
    table.grad = gradient.to_dense() if dense else gradient
    bias.grad = torch.full_like(bias, 0.3 + seed)
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_touched_in_every_step_are_those_of_dense_adam_bit_for_bit(kind: dict[str, Any]) -> None:
    ours, theirs = parameters(), parameters()
    lazy, dense = RowAdam(ours, lr=0.1, **kind), torch.optim.Adam(theirs, lr=0.1, foreach=False, **kind)
    before = ours[0].detach().clone()
    for seed in range(5):
        step(lazy, [4, 1, 4], seed)
        step(dense, [4, 1, 4], seed, dense=True)
    assert torch.equal(ours[0][[1, 4]], theirs[0][[1, 4]])
    assert torch.equal(ours[1], theirs[1])
    assert not torch.equal(ours[0][1], before[1])
    assert torch.equal(ours[0][[0, 2, 3, 5]], before[[0, 2, 3, 5]])  # not even weight decay


def test_rows_of_other_steps_stay_as_they_are_with_their_averages() -> None:
    table = parameters()[0]
    optimizer = RowAdam([table], lr=0.1)
    table.grad = sparse([2], 0)
    optimizer.step()
    after, state = table.detach().clone(), {k: v.clone() for k, v in optimizer.state[table].items()}
    table.grad = sparse([3], 1)
    optimizer.step()
    assert torch.equal(table[2], after[2])
    for name in ("exp_avg", "exp_avg_sq"):
        assert state[name][2].all()
        assert torch.equal(optimizer.state[table][name][2], state[name][2])
    assert optimizer.state[table]["step"] == 2


def test_bias_correction_goes_by_steps() -> None:
    """First touched in step 2: m̂ = 0.1 g / (1 - 0.9²), v̂ = 0.01 g² / (1 - 0.99²), by hand."""
    table = nn.Parameter(torch.zeros(2, 1, dtype=torch.float64))
    optimizer = RowAdam([table], lr=1.0, betas=(0.9, 0.99), eps=0.0)
    for row in (0, 1):
        table.grad = torch.sparse_coo_tensor([[row]], [[4.0]], (2, 1), dtype=torch.float64, check_invariants=False)
        optimizer.step()
    assert table[0].item() == pytest.approx(-1.0)
    assert table[1].item() == pytest.approx(-(0.4 / 0.19) / (0.16 / 0.0199) ** 0.5)


def test_rows_of_zeros_are_not_touched() -> None:
    gradient = torch.sparse_coo_tensor(
        torch.tensor([[5, 0, 2, 5]]), torch.tensor([[1.0, 0], [0, 0], [0, 3], [1, 1]]), (N, 2), check_invariants=False
    )
    rows, values = touched(gradient)
    assert rows.tolist() == [2, 5]
    assert values.tolist() == [[0, 3], [2, 1]]
    assert touched(torch.zeros(N, 2).to_sparse(1))[0].tolist() == []


def test_a_step_without_touched_rows_changes_no_row() -> None:
    table = parameters()[0]
    before = table.detach().clone()
    optimizer = RowAdam([table], weight_decay=0.5)
    table.grad = torch.zeros(N, D, dtype=torch.float64).to_sparse(1)
    optimizer.step()
    assert torch.equal(table, before)


@pytest.mark.parametrize("resumed_as", [RowAdam, torch.optim.Adam])
def test_its_state_goes_on_where_it_was_saved(resumed_as: Callable[..., torch.optim.Optimizer]) -> None:
    """In torch's own Adam too, whose state it is."""
    whole, first = parameters(), parameters()
    optimizer = RowAdam(whole, lr=0.1)
    half = RowAdam(first, lr=0.1)
    every = list(range(N))
    for seed in range(2):
        step(optimizer, every, seed)
        step(half, every, seed)
    second = [nn.Parameter(p.detach().clone()) for p in first]
    resumed = resumed_as(second)
    resumed.load_state_dict(half.state_dict())
    for seed in range(2, 4):
        step(optimizer, every, seed)
        step(resumed, every, seed, dense=resumed_as is torch.optim.Adam)
    for one, other in zip(whole, second, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-14, atol=0)


def test_step_runs_its_closure_with_gradients() -> None:
    table, _ = parameters()
    optimizer = RowAdam([table], lr=0.1)

    def closure() -> float:
        loss = nn.functional.embedding(torch.tensor([1]), table, sparse=True).square().sum()
        loss.backward()
        return loss.item()

    first = optimizer.step(closure)
    optimizer.zero_grad()
    assert optimizer.step(closure) < first  # type: ignore[operator]


def test_schedules_and_groups_reach_it() -> None:
    table, bias = parameters()
    settings = OptimizerSettings(kind="adamw", lr=0.5, weight_decay=0.2, schedule="linear", table_updates="rows")
    optimizer = build_optimizer(settings, [table, bias])
    assert isinstance(optimizer, RowAdam)
    schedule = build_schedule(settings, optimizer, total_steps=4)
    rates = []
    for seed in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        step(optimizer, [1], seed)
        schedule.step()
    assert rates == pytest.approx([0.5, 0.375, 0.25, 0.125])
    assert optimizer.param_groups[0]["decoupled_weight_decay"]
    groups = RowAdam([{"params": [table], "lr": 0.0}, {"params": [bias]}], lr=0.1)
    before = table.detach().clone(), bias.detach().clone()
    table.grad, bias.grad = sparse([1], 0), torch.ones_like(bias)
    groups.step()
    assert torch.equal(table, before[0])
    assert not torch.equal(bias, before[1])


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_all_rows_are_updated_by_torchs_own(kind: str) -> None:
    ours, theirs = parameters(), parameters()
    settings = OptimizerSettings(kind=kind, lr=0.1, betas=(0.8, 0.9), weight_decay=0.1)  # type: ignore[arg-type]
    optimizer = build_optimizer(settings, ours)
    named = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind]
    expected = named(theirs, lr=0.1, betas=(0.8, 0.9), weight_decay=0.1)
    for each in (optimizer, expected):
        step(each, [1, 2], 0, dense=True)
    assert torch.equal(ours[0], theirs[0])
