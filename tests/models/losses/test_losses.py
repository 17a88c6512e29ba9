from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqrec.models import FullSoftmax, FullSoftmaxSettings, build_loss
from seqrec.models.losses import full_softmax

T, N, D = 7, 12, 4


def make(dtype: torch.dtype = torch.float64, targets: int = T) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(targets, D, generator=generator, dtype=dtype).requires_grad_()
    table = torch.randn(N, D, generator=generator, dtype=dtype).requires_grad_()
    return hidden, torch.randint(1, N + 1, (targets,), generator=generator), table


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("chunk", [1, 3, T, 1000])
def test_full_softmax_is_cross_entropy(
    dtype: torch.dtype, tolerance: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full_softmax, "_chunk_size", lambda n_targets, n_items: chunk)
    hidden, targets, table = make(dtype)
    loss = FullSoftmax()(hidden, targets, table)
    plain = F.cross_entropy(hidden @ table.T, targets - 1, reduction="sum")
    assert loss.dtype == dtype
    torch.testing.assert_close(loss, plain, rtol=tolerance, atol=tolerance)
    found, expected = (torch.autograd.grad(value * 3, (hidden, table)) for value in (loss, plain))
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("n_targets", "n_items", "chunk"), [(2000, 12_101, 86), (50, 12_101, 50), (2000, 1_000_000, 64), (0, 5, 1)]
)
def test_chunks_fill_the_cache_but_are_not_thin(n_targets: int, n_items: int, chunk: int) -> None:
    assert full_softmax._chunk_size(n_targets, n_items) == chunk


def test_full_softmax_by_hand() -> None:
    table = torch.tensor([[math.log(1.0)], [math.log(2.0)], [math.log(5.0)]])
    loss = FullSoftmax()(torch.ones(2, 1), torch.tensor([3, 1]), table)
    assert loss.item() == pytest.approx(math.log(8 / 5) + math.log(8), rel=1e-6)


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
