from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqrec.models import FullSoftmax, FullSoftmaxSettings, build_loss

T, N, D = 7, 12, 4


def make(dtype: torch.dtype = torch.float64, targets: int = T) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(targets, D, generator=generator, dtype=dtype).requires_grad_()
    table = torch.randn(N, D, generator=generator, dtype=dtype).requires_grad_()
    return hidden, torch.randint(1, N + 1, (targets,), generator=generator), table


def test_no_targets_give_zero_and_zero_gradients() -> None:
    hidden, targets, table = make(targets=0)
    value = FullSoftmax()(hidden, targets, table)
    value.backward()
    assert value.item() == 0
    assert hidden.grad is not None
    assert table.grad is not None
    assert torch.equal(table.grad, torch.zeros(N, D, dtype=table.dtype))


def test_extreme_logits_do_not_overflow() -> None:
    table = torch.tensor([[1e4], [-1e4], [0.0]], requires_grad=True)
    hidden = torch.tensor([[1.0], [1.0]], requires_grad=True)
    value = FullSoftmax()(hidden, torch.tensor([1, 2]), table)
    value.backward()
    assert value.item() == pytest.approx(2e4)
    assert torch.isfinite(table.grad).all()
    assert torch.isfinite(hidden.grad).all()


def test_bfloat16_hidden_states_are_summed_in_the_dtype_of_the_table() -> None:
    hidden, targets, table = make(torch.float32)
    half = hidden.detach().bfloat16()
    value = FullSoftmax()(half, targets, table)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, FullSoftmax()(half.float(), targets, table))


def test_build_loss() -> None:
    assert isinstance(build_loss(FullSoftmaxSettings()), FullSoftmax)
