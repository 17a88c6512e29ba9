from __future__ import annotations

import pytest
import torch

from seqrec.models import Pooling

HIDDEN = torch.tensor([[[1.0, 2], [3, -4], [99, 99]], [[5, 6], [99, 99], [99, 99]]])
LENGTHS = torch.tensor([2, 1])


@pytest.mark.parametrize(
    ("kind", "expected"), [("last", [[3, -4], [5, 6]]), ("mean", [[2, -1], [5, 6]]), ("max", [[3, 2], [5, 6]])]
)
def test_pooling_by_hand(kind: str, expected: list[list[float]]) -> None:
    assert Pooling(kind, 2)(HIDDEN, LENGTHS).tolist() == expected  # type: ignore[arg-type]


def test_attention_weighs_by_the_softmax_of_a_map() -> None:
    pooling = Pooling("attention", 2)
    assert pooling.score is not None
    with torch.no_grad():
        pooling.score.weight.copy_(torch.tensor([[torch.log(torch.tensor(3.0)) / 2, 0.0]]))  # scores 3**0.5, 3**1.5
        found = pooling(HIDDEN, LENGTHS)
    torch.testing.assert_close(found, torch.tensor([[2.5, -2.5], [5, 6]]))  # weights 1/4 and 3/4


@pytest.mark.parametrize("kind", ["last", "mean", "max", "attention"])
def test_padding_gives_no_value_and_gets_no_gradient(kind: str) -> None:
    pooling = Pooling(kind, 2)  # type: ignore[arg-type]
    hidden = HIDDEN.masked_fill(HIDDEN == 99, torch.inf).requires_grad_()
    pooled = pooling(hidden, LENGTHS)
    assert pooled.isfinite().all()
    pooled.sum().backward()
    assert hidden.grad is not None
    assert not hidden.grad[0, 2:].any()
    assert not hidden.grad[1, 1:].any()
