"""Each loss over shared negatives against its plain formula, written out draw by draw."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from seqrec.errors import RecipeError
from seqrec.models import (
    Bce,
    BceSettings,
    Bpr,
    BprSettings,
    FullSoftmax,
    GBce,
    GBceSettings,
    Negatives,
    NegativesSettings,
    SampledLoss,
    SampledSoftmax,
    SampledSoftmaxSettings,
    build_loss,
)
from seqrec.settings import CustomSettings

T, N, D = 7, 12, 4
SETTINGS = NegativesSettings(uniform=6)
CALIBRATION = 0.6
LOSSES = {
    "sampled_softmax": SampledSoftmax(SETTINGS),
    "gbce": GBce(SETTINGS, CALIBRATION),
    "bce": Bce(SETTINGS),
    "bpr": Bpr(SETTINGS),
}
Plain = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def make(dtype: torch.dtype = torch.float64, targets: int = T) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(targets, D, generator=generator, dtype=dtype).requires_grad_()
    table = torch.randn(N, D, generator=generator, dtype=dtype).requires_grad_()
    return hidden, torch.randint(1, N + 1, (targets,), generator=generator), table


def drawn(*items: int) -> Negatives:
    """Uniform draws, with their expected counts."""
    different, counts = torch.tensor(items).unique(return_counts=True)
    expected = torch.full((len(different),), len(items) / N, dtype=torch.float64)
    return Negatives(different, counts.double(), expected.log())


def plain_sampled_softmax(positive: Tensor, scores: Tensor, left_out: Tensor, shift: Tensor) -> Tensor:
    logits = (scores - shift).masked_fill(left_out, float("-inf"))
    return torch.logsumexp(torch.cat([positive.unsqueeze(1), logits], 1), 1) - positive


def plain_bce(positive: Tensor, scores: Tensor, left_out: Tensor, shift: Tensor) -> Tensor:
    others = -torch.log1p(-torch.sigmoid(scores)).masked_fill(left_out, 0)
    return -torch.sigmoid(positive).log() + others.mean(1)


def plain_bpr(positive: Tensor, scores: Tensor, left_out: Tensor, shift: Tensor) -> Tensor:
    return -torch.sigmoid(positive.unsqueeze(1) - scores).log().masked_fill(left_out, 0).mean(1)


def plain_gbce(positive: Tensor, scores: Tensor, left_out: Tensor, shift: Tensor) -> Tensor:
    """The mean over the target and k draws of the paper's: the target's probability to the power β."""
    k = scores.shape[1]
    alpha = k / (N - 1)
    beta = alpha * (CALIBRATION * (1 - 1 / alpha) + 1 / alpha)
    others = -torch.log1p(-torch.sigmoid(scores)).masked_fill(left_out, 0)
    return (-(torch.sigmoid(positive) ** beta).log() + others.sum(1)) / (k + 1)


PLAIN: dict[str, Plain] = {
    "sampled_softmax": plain_sampled_softmax,
    "gbce": plain_gbce,
    "bce": plain_bce,
    "bpr": plain_bpr,
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", LOSSES)
def test_losses_and_gradients_are_those_of_the_plain_formula(
    kind: str, sparse: bool, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden, targets, table = make(dtype)
    draws = torch.tensor([1, 4, 4, 9, int(targets[0]), int(targets[3])])
    monkeypatch.setattr(LOSSES[kind], "row_gradients", sparse)
    loss = LOSSES[kind](hidden, targets, table, drawn(*draws.tolist()))
    positive = (hidden * table[targets - 1]).sum(1)
    left_out = draws == targets.unsqueeze(1)
    assert left_out.any()
    shift = torch.full((len(draws),), math.log(len(draws) / N), dtype=dtype)
    plain = PLAIN[kind](positive, hidden @ table[draws - 1].T, left_out, shift).sum()
    assert loss.dtype == dtype
    torch.testing.assert_close(loss, plain, rtol=tolerance, atol=tolerance)
    found, expected = (torch.autograd.grad(value * 3, (hidden, table)) for value in (loss, plain))
    assert found[1].is_sparse is sparse
    torch.testing.assert_close((found[0], found[1].to_dense()), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", LOSSES)
def test_gradients_by_finite_differences(kind: str) -> None:
    hidden, targets, table = make()
    negatives = drawn(1, 4, 4, 9, int(targets[0]))
    assert torch.autograd.gradcheck(lambda h, w: LOSSES[kind](h, targets, w, negatives), (hidden, table))


@pytest.mark.parametrize("kind", LOSSES)
def test_no_targets_give_zero_and_zero_gradients(kind: str) -> None:
    hidden, targets, table = make(targets=0)
    value = LOSSES[kind](hidden, targets, table, drawn(1, 5, 5))
    value.backward()
    assert value.item() == 0
    assert hidden.grad is not None
    assert table.grad is not None
    assert torch.equal(table.grad, torch.zeros(N, D, dtype=table.dtype))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # row 1 scores 1e4 for its target; row 2 scores -1e4 for its own, and 1e4 and 0 for the others
        ("sampled_softmax", 2e4 + math.log(12 / 3)),
        ("bce", 1e4 + (1e4 + 2 * math.log(2)) / 3),
        ("gbce", (1e4 + 1e4 + 2 * math.log(2)) / 4),  # more draws than items: α = β = 1
        ("bpr", (2e4 + 1e4) / 3),
    ],
)
def test_extreme_scores_do_not_overflow(kind: str, expected: float) -> None:
    table = torch.tensor([[1e4], [-1e4], [0.0]], requires_grad=True)
    hidden = torch.tensor([[1.0], [1.0]], requires_grad=True)
    value = LOSSES[kind](hidden, torch.tensor([1, 2]), table, drawn(1, 2, 3))
    value.backward()
    assert value.item() == pytest.approx(expected)
    assert table.grad is not None
    assert hidden.grad is not None
    assert torch.isfinite(table.grad).all()
    assert torch.isfinite(hidden.grad).all()
    assert table.grad.any()


@pytest.mark.parametrize("kind", LOSSES)
def test_bfloat16_hidden_states_are_summed_in_the_dtype_of_the_table(kind: str) -> None:
    hidden, targets, table = make(torch.float32)
    half, negatives = hidden.detach().bfloat16(), drawn(*range(1, N + 1))
    with torch.autocast("cpu"):
        value = LOSSES[kind](half, targets, table, negatives)
    assert value.dtype == torch.float32
    assert torch.equal(value, LOSSES[kind](half.float(), targets, table, negatives))


@pytest.mark.parametrize("kind", LOSSES)
def test_gradients_are_made_where_they_are_wanted(kind: str) -> None:
    hidden, targets, table = make()
    negatives = drawn(1, 4)
    with torch.no_grad():
        assert not LOSSES[kind](hidden, targets, table, negatives).requires_grad
    LOSSES[kind](hidden, targets, table.detach(), negatives).backward()
    alone, hidden.grad = hidden.grad, None
    LOSSES[kind](hidden, targets, table, negatives).backward()
    assert alone is not None
    assert torch.equal(alone, hidden.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", LOSSES)
def test_without_negatives(kind: str) -> None:
    with pytest.raises(ValueError, match="needs the negatives of the step"):
        LOSSES[kind](*make())


@pytest.mark.parametrize("kind", LOSSES)
def test_where_every_negative_is_the_target(kind: str) -> None:
    hidden, targets, table = make(targets=1)
    value = LOSSES[kind](hidden, targets, table, drawn(int(targets), int(targets)))
    value.backward()
    positive = (hidden * table[targets - 1]).sum().item()
    logistic = math.log1p(math.exp(-positive))
    beta = 1 + CALIBRATION * (2 / (N - 1) - 1)
    expected = {"sampled_softmax": 0, "bpr": 0, "bce": logistic, "gbce": beta * logistic / 3}
    assert value.item() == pytest.approx(expected[kind], rel=1e-12)


def test_sampled_softmax_by_hand() -> None:
    """Two of four items drawn: each negative's logit gains log(4 / 2), that is its weight doubles."""
    table = torch.tensor([[math.log(w)] for w in (1.0, 2.0, 3.0, 5.0)])
    hidden, loss = torch.ones(1, 1), LOSSES["sampled_softmax"]
    negatives = Negatives(torch.tensor([2, 4]), torch.ones(2), torch.full((2,), 2 / 4).log())
    assert loss(hidden, torch.tensor([1]), table, negatives).item() == pytest.approx(math.log(1 + 2 * (2 + 5)))
    # the negative that is the target is left out: log((2 + 2·5) / 2)
    assert loss(hidden, torch.tensor([2]), table, negatives).item() == pytest.approx(math.log(12 / 2))


def test_sampled_softmax_over_every_item_once_is_the_full_one() -> None:
    """Expected count of each: N draws of N items, so log 1 = 0 is subtracted; the target stays as the positive."""
    hidden, targets, table = make()
    found = LOSSES["sampled_softmax"](hidden, targets, table, drawn(*range(1, N + 1)))
    expected = FullSoftmax()(hidden, targets, table)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(loss, (hidden, table)) for loss in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_sampled_softmax_corrects_negatives_and_not_the_target() -> None:
    """Where all scores are equal the target's gradient is p - 1, with p = 1 / (1 + (N - 1) · N / (N - 1))."""
    target = torch.tensor([3])
    others = drawn(*(item for item in range(1, N + 1) if item != 3))
    flat = torch.ones(N, 1, dtype=torch.float64, requires_grad=True)
    LOSSES["sampled_softmax"](torch.ones(1, 1, dtype=torch.float64), target, flat, others).backward()
    assert flat.grad is not None
    assert flat.grad[target - 1].item() == pytest.approx(1 / (1 + N) - 1, rel=1e-12)


def test_recipes_name_losses() -> None:
    negatives = {"uniform": 3, "popularity": 4}
    built: dict[str, SampledLoss] = {
        "sampled_softmax": build_loss(SampledSoftmaxSettings(kind="sampled_softmax", negatives=negatives)),  # type: ignore
        "bce": build_loss(BceSettings(kind="bce", negatives=negatives)),  # type: ignore
        "bpr": build_loss(BprSettings(kind="bpr", negatives=negatives)),  # type: ignore
        "gbce": build_loss(GBceSettings(kind="gbce", negatives={"uniform": 3}, calibration=0.2)),  # type: ignore
    }
    for kind, loss in built.items():
        assert type(loss) is type(LOSSES[kind])
        assert loss.negatives.uniform == 3
    assert built["gbce"].calibration == 0.2
    assert SampledSoftmaxSettings(kind="sampled_softmax").negatives == NegativesSettings(uniform=512)


def test_a_loss_of_ones_own_says_what_it_wants_drawn() -> None:
    with pytest.raises(RecipeError, match=r"(?s)model.loss: `torch.nn:Identity` has no attribute `negatives`.*None"):
        build_loss(CustomSettings(kind="torch.nn:Identity"))
    assert build_loss(CustomSettings(kind="seqrec.models:FullSoftmax")).negatives is None


def test_refused_negatives() -> None:
    with pytest.raises(ValueError, match="no negatives: give a number for `uniform`, `popularity` or `in_batch`"):
        NegativesSettings()
    with pytest.raises(ValueError, match="calibrated for uniform negatives only"):
        GBceSettings(kind="gbce", negatives=NegativesSettings(uniform=1, in_batch=1))
