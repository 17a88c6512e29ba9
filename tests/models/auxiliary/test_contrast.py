"""The contrastive loss against a plain loop, and in parts, as ranks have it."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqrec.models.auxiliary.contrast import contrastive_loss

N, D, TEMPERATURE = 5, 4, 0.3
TARGETS = torch.tensor([7, 2, 7, 3, 7])
COUNTS = torch.tensor([1, 4, 2, 3, 1])


@pytest.fixture
def views() -> Tensor:
    return torch.randn(N, 2, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def by_hand(views: Tensor, *, same_target: bool) -> list[Tensor]:
    """Each sequence's loss."""
    losses = []
    for i in range(N):
        of_views = []
        for a in range(2):

            def score(j: int, b: int, i: int = i, a: int = a) -> Tensor:
                return F.cosine_similarity(views[i, a], views[j, b], dim=0) / TEMPERATURE

            others = [(j, b) for j in range(N) for b in range(2) if (j, b) != (i, a)]
            whole = sum(score(*other).exp() for other in others)
            alike = [(j, b) for j, b in others if (TARGETS[i] == TARGETS[j] if same_target else i == j)]
            of_views.append(sum(-(score(*one).exp() / whole).log() for one in alike) / len(alike))
        losses.append((of_views[0] + of_views[1]) / 2)
    return losses


@pytest.mark.parametrize("same_target", [False, True])
def test_it_is_what_a_plain_loop_makes(views: Tensor, same_target: bool) -> None:
    views.requires_grad_()
    expected = sum(loss * count for loss, count in zip(by_hand(views, same_target=same_target), COUNTS, strict=True))
    (gradient,) = torch.autograd.grad(expected, views)
    loss = contrastive_loss(views, TARGETS, COUNTS, temperature=TEMPERATURE, same_target=same_target)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, views)[0], gradient)


@pytest.mark.parametrize("same_target", [False, True])
@pytest.mark.parametrize("sizes", [(2, 3), (0, 4, 1), (5,)])
def test_parts_of_a_step_make_its_loss_and_gradient(views: Tensor, sizes: tuple[int, ...], same_target: bool) -> None:
    options = {"temperature": TEMPERATURE, "same_target": same_target}
    views.requires_grad_()
    whole = contrastive_loss(views, TARGETS, COUNTS, **options)  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(whole, views)
    losses, gradients, start = [], [], 0
    for size in sizes:
        here = slice(start, start + size)
        start += size

        def gather(*_: Tensor, here: slice = here) -> tuple[list[Tensor], slice]:
            return [F.normalize(views.detach(), dim=-1), TARGETS, COUNTS], here

        own = views.detach()[here].requires_grad_()
        loss = contrastive_loss(own, TARGETS[here], COUNTS[here], gather=gather, **options)  # type: ignore[arg-type]
        gradients.append(torch.autograd.grad(loss, own)[0])
        losses.append(loss)
    torch.testing.assert_close(sum(losses), whole)
    torch.testing.assert_close(torch.cat(gradients), gradient)


def test_rows_without_a_target_are_no_sequences(views: Tensor) -> None:
    options = {"temperature": TEMPERATURE, "same_target": True}
    expected = contrastive_loss(views[1:4], TARGETS[1:4], COUNTS[1:4], **options)  # type: ignore[arg-type]
    views.requires_grad_()
    loss = contrastive_loss(views, TARGETS, COUNTS * torch.tensor([0, 1, 1, 1, 0]), **options)  # type: ignore[arg-type]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert views.grad is not None
    assert views.grad.flatten(1).any(1).tolist() == [False, True, True, True, False]


def test_half_precision_is_computed_in_float32() -> None:
    alike, ones = torch.eye(2, dtype=torch.bfloat16).unsqueeze(1).expand(2, 2, 2), torch.ones(2)
    with torch.autocast("cpu", torch.bfloat16):
        loss = contrastive_loss(alike, ones, ones, temperature=1.0, same_target=False)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(2 * math.log(1 + 2 / math.e), rel=1e-6)


def test_a_sequence_alone_has_nothing_to_be_told_from() -> None:
    one = torch.randn(1, 2, D, requires_grad=True)
    ones = torch.ones(1, dtype=torch.long)
    loss = contrastive_loss(one, ones, ones, temperature=0.1, same_target=False)
    none = contrastive_loss(one[:0], ones[:0], ones[:0], temperature=0.1, same_target=False)
    (loss + none).backward()
    assert loss.item() == none.item() == 0.0
    assert one.grad is not None
    assert not one.grad.any()
