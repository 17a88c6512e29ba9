from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from seqrec.models import FullSoftmax, FullSoftmaxSettings, SampledSoftmax, SampledSoftmaxSettings, build_loss

T, N, D = 7, 12, 4


def make(dtype: torch.dtype = torch.float64, targets: int = T) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(targets, D, generator=generator, dtype=dtype).requires_grad_()
    table = torch.randn(N, D, generator=generator, dtype=dtype).requires_grad_()
    return hidden, torch.randint(1, N + 1, (targets,), generator=generator), table


@pytest.mark.parametrize("loss", [FullSoftmax(), SampledSoftmax(3)], ids=["full", "sampled"])
def test_no_targets_give_zero_and_zero_gradients(loss: FullSoftmax | SampledSoftmax) -> None:
    hidden, targets, table = make(targets=0)
    value = loss(hidden, targets, table, torch.tensor([1, 5, 5]))
    value.backward()
    assert value.item() == 0
    assert hidden.grad is not None
    assert table.grad is not None
    assert torch.equal(table.grad, torch.zeros(N, D, dtype=table.dtype))


@pytest.mark.parametrize("loss", [FullSoftmax(), SampledSoftmax(3)], ids=["full", "sampled"])
def test_extreme_logits_do_not_overflow(loss: FullSoftmax | SampledSoftmax) -> None:
    table = torch.tensor([[1e4], [-1e4], [0.0]], requires_grad=True)
    hidden = torch.tensor([[1.0], [1.0]], requires_grad=True)
    value = loss(hidden, torch.tensor([1, 2]), table, torch.tensor([1, 2, 3]))
    value.backward()
    assert value.item() == pytest.approx(2e4)
    assert torch.isfinite(table.grad).all()
    assert torch.isfinite(hidden.grad).all()


def test_bfloat16_hidden_states_are_summed_in_the_dtype_of_the_table() -> None:
    hidden, targets, table = make(torch.float32)
    half = hidden.detach().bfloat16()
    for loss in (FullSoftmax(), SampledSoftmax(N)):
        value = loss(half, targets, table, torch.arange(1, N + 1))
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, loss(half.float(), targets, table, torch.arange(1, N + 1)))


def test_sampled_softmax_by_hand() -> None:
    """Two of four items drawn: each negative's logit gains log(4 / 2), that is its weight doubles."""
    table = torch.tensor([[math.log(w)] for w in (1.0, 2.0, 3.0, 5.0)])
    loss, hidden, negatives = SampledSoftmax(2), torch.ones(1, 1), torch.tensor([2, 4])
    assert loss(hidden, torch.tensor([1]), table, negatives).item() == pytest.approx(math.log(1 + 2 * (2 + 5)))
    # the negative that is the target is left out: log((2 + 2·5) / 2)
    assert loss(hidden, torch.tensor([2]), table, negatives).item() == pytest.approx(math.log(12 / 2))


def test_sampled_softmax_over_every_item_once_is_the_full_one() -> None:
    """Expected count of each: N draws of N items, so log 1 = 0 is subtracted; the target stays as the positive."""
    hidden, targets, table = make()
    everything = torch.randperm(N, generator=torch.Generator().manual_seed(1)) + 1
    found, expected = SampledSoftmax(N)(hidden, targets, table, everything), FullSoftmax()(hidden, targets, table)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(loss, (hidden, table)) for loss in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_sampled_softmax_corrects_negatives_and_not_the_target() -> None:
    hidden, targets, table = make(targets=1)
    others = torch.tensor([item for item in range(1, N + 1) if item != targets.item()])
    logits = (hidden @ table.T)[0]
    target = logits[targets - 1]
    negatives = logits[others - 1] - math.log((N - 1) / N)
    expected = torch.logsumexp(torch.cat([target, negatives]), 0) - target.squeeze()
    found = SampledSoftmax(N - 1)(hidden, targets, table, others)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    # where all scores are equal the target's gradient is p - 1, with p = 1 / (1 + (N - 1) · N / (N - 1))
    flat = torch.ones(N, 1, dtype=torch.float64, requires_grad=True)
    SampledSoftmax(N - 1)(torch.ones(1, 1, dtype=torch.float64), targets, flat, others).backward()
    assert flat.grad[targets - 1].item() == pytest.approx(1 / (1 + N) - 1, rel=1e-12)


def test_sampled_softmax_gradient_by_finite_differences() -> None:
    hidden, targets, table = make()
    negatives = torch.tensor([1, 4, 4, 9, int(targets[0])])
    loss = SampledSoftmax(5)
    assert torch.autograd.gradcheck(lambda h, w: loss(h, targets, w, negatives), (hidden, table))


def test_sampled_softmax_estimates_the_full_one() -> None:
    """With many draws the sampled sum of exponentials approaches the full one, which a wrong correction would miss."""
    hidden, targets, table = make()
    draws = torch.randint(1, N + 1, (200_000,), generator=torch.Generator().manual_seed(3))
    found, full = SampledSoftmax(len(draws))(hidden, targets, table, draws), FullSoftmax()(hidden, targets, table)
    assert found.item() == pytest.approx(full.item(), rel=5e-3)


def test_sampled_softmax_where_every_negative_is_the_target() -> None:
    hidden, targets, table = make(targets=1)
    value = SampledSoftmax(2)(hidden, targets, table, targets.repeat(2))
    value.backward()
    assert value.item() == 0
    assert not hidden.grad.any()


def test_sampled_softmax_without_negatives() -> None:
    with pytest.raises(ValueError, match="needs the negatives of the step"):
        SampledSoftmax(2)(*make())


def test_build_loss() -> None:
    assert isinstance(build_loss(FullSoftmaxSettings()), FullSoftmax)
    sampled = build_loss(SampledSoftmaxSettings(kind="sampled_softmax", negatives=7))
    assert sampled.n_negatives == 7
