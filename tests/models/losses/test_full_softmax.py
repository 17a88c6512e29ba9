from __future__ import annotations

import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from seqrec.models import FullSoftmax, FullSoftmaxSettings, build_loss
from seqrec.models.losses import full_softmax_kernel as kernel
from seqrec.models.losses.table_parts import TablePart

T, N, D = 7, 12, 4
TOLERANCES = [(torch.float64, 1e-12), (torch.float32, 1e-5)]


def make(
    dtype: torch.dtype = torch.float64, positions: int = T, items: int = N, width: int = D
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(positions, width, generator=generator, dtype=dtype).requires_grad_()
    table = torch.randn(items, width, generator=generator, dtype=dtype).requires_grad_()
    return hidden, torch.randint(1, items + 1, (positions,), generator=generator), table


def plain(hidden: Tensor, targets: Tensor, table: Tensor) -> Tensor:
    return F.cross_entropy(hidden @ table.T, targets - 1, reduction="sum")


def assert_same(hidden: Tensor, targets: Tensor, table: Tensor, tolerance: float) -> None:
    """Loss and gradients agree with the plain formula, relative to the largest gradient of each matrix."""
    found, expected = FullSoftmax()(hidden, targets, table), plain(hidden, targets, table)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    pairs = [torch.autograd.grad(loss * 3, (hidden, table)) for loss in (found, expected)]
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * max(1, other.abs().max().item()))


class Watch(TorchDispatchMode):
    """Counts operators, and keeps the number of elements of the largest result."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls[func.overloadpacket.__name__] += 1
        if isinstance(result, Tensor):
            self.largest = max(self.largest, result.numel())
        return result

    def products(self) -> int:
        return self.calls["mm"] + self.calls["addmm_"]


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@pytest.mark.parametrize("chunk", [1, 3, T, 1000])
@pytest.mark.parametrize("largest_unshifted", [-1.0, 64.0], ids=["shifted", "unshifted"])
def test_is_cross_entropy(
    dtype: torch.dtype, tolerance: float, chunk: int, largest_unshifted: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_chunk_size", lambda *_: chunk)
    monkeypatch.setattr(kernel, "_LARGEST_UNSHIFTED", largest_unshifted)
    assert_same(*make(dtype), tolerance)
    assert FullSoftmax()(*make(dtype)).dtype == dtype


class ThreadPart(TablePart):
    """A part of a table whose other parts are in other threads."""

    def __init__(self, first: int, most_rows: int, meeting: Barrier, found: dict[int, Tensor]):
        self.first, self._most_rows, self._meeting, self._found = first, most_rows, meeting, found

    def most_rows(self, own: int) -> int:
        return self._most_rows

    def _all(self, values: Tensor) -> Tensor:
        self._found[self.first] = values.clone()
        self._meeting.wait()
        stacked = torch.stack([self._found[first] for first in sorted(self._found)])
        self._meeting.wait()
        return stacked

    def greatest(self, values: Tensor) -> Tensor:
        return self._all(values).amax(0)

    def sum(self, values: Tensor) -> Tensor:
        return self._all(values).sum(0)


@pytest.mark.parametrize("scale", [1.0, 40.0], ids=["unshifted", "shifted"])
@pytest.mark.parametrize("chunk", [3, 64])
def test_parts_of_a_table_make_the_loss_of_the_whole(scale: float, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_chunk_size", lambda *_: chunk)
    hidden, targets, table = make()
    hidden, table = hidden.detach() * scale, table.detach()
    # the largest part is also the one with the largest logits, which decide how all of them are computed
    parts = [table[:3] * 0.1, table[3:10], table[10:]]
    firsts, meeting, found = (0, 3, 10), Barrier(3, timeout=60), {}
    assert (hidden.norm(dim=1).max() * parts[1].norm(dim=1).max() > 64) == (scale > 1)

    def one(first: int, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        by_hidden, by_rows = torch.empty_like(hidden), torch.zeros_like(rows)
        part = ThreadPart(first, 7, meeting, found)
        return kernel.accumulate(hidden, targets - 1, rows, by_hidden, by_rows, part), by_hidden, by_rows

    with ThreadPoolExecutor(3) as threads:
        losses, by_hidden, by_rows = zip(*threads.map(one, firsts, parts), strict=True)
    whole = [hidden.requires_grad_(), torch.cat(parts).requires_grad_()]
    expected = F.cross_entropy(whole[0] @ whole[1].T, targets - 1, reduction="none")
    gradients = torch.autograd.grad(expected.sum(), whole)
    for own in losses:
        torch.testing.assert_close(own, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(sum(by_hidden), gradients[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.cat(by_rows), gradients[1], rtol=1e-12, atol=1e-12 * scale)


@settings(deadline=None, max_examples=50)
@given(
    positions=st.integers(1, 200),
    items=st.integers(1, 300),
    width=st.integers(1, 9),
    log_scale=st.floats(-3, 3),
    piece=st.sampled_from([1, 4096, 2**22]),
)
def test_is_cross_entropy_at_any_shape_and_scale(
    positions: int, items: int, width: int, log_scale: float, piece: int
) -> None:
    hidden, targets, table = make(positions=positions, items=items, width=width)
    hidden = (hidden.detach() * 10**log_scale).requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_CHUNK_BYTES", piece)
        assert_same(hidden, targets, table, 1e-10)


def test_float32_beyond_what_exp_holds_beside_small_logits() -> None:
    """Rows of one chunk whose logits reach 1e5, 100 and 0.01, against float64 of the same numbers."""
    hidden, targets, table = make(torch.float32, positions=60, items=500, width=16)
    scale = torch.tensor([1e4, 10.0, 1e-3]).repeat_interleave(20).unsqueeze(1)
    hidden = (hidden.detach() * scale).requires_grad_()
    exact = hidden.detach().double().requires_grad_(), table.detach().double().requires_grad_()
    for rows in (slice(None), slice(0, 20), slice(20, 40), slice(40, 60)):
        loss = FullSoftmax()(hidden[rows], targets[rows], table)
        expected = plain(exact[0][rows], targets[rows], exact[1])
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        found = torch.autograd.grad(loss, (hidden, table))
        for one, other in zip(found, torch.autograd.grad(expected, exact), strict=True):
            # the logits themselves round to 1e5 * 2**-24
            assert ((one - other).norm() / other.norm()).item() < (5e-3 if rows.start in (None, 0) else 1e-5)


def test_no_targets_give_zero_and_zero_gradients() -> None:
    hidden, targets, table = make(positions=0)
    loss = FullSoftmax()(hidden, targets, table)
    loss.backward()
    assert loss.item() == 0
    assert hidden.grad is not None
    assert table.grad is not None
    assert torch.equal(table.grad, torch.zeros(N, D, dtype=table.dtype))


def test_extreme_logits_do_not_overflow() -> None:
    table = torch.tensor([[1e4], [-1e4], [0.0]], requires_grad=True)
    hidden = torch.tensor([[1.0], [1.0]], requires_grad=True)
    loss = FullSoftmax()(hidden, torch.tensor([1, 2]), table)
    loss.backward()
    assert loss.item() == pytest.approx(2e4)
    assert table.grad is not None
    assert hidden.grad is not None
    assert torch.isfinite(table.grad).all()
    assert torch.isfinite(hidden.grad).all()


def test_no_loss_is_negative_where_the_target_takes_all() -> None:
    table = torch.tensor([[1e4], [-1e4], [0.0]], requires_grad=True)
    hidden = torch.tensor([[1.0], [0.004]], requires_grad=True)
    loss = FullSoftmax()(hidden, torch.tensor([1, 1]), table)
    loss.backward()
    assert loss.item() == 0
    assert table.grad is not None
    assert table.grad.abs().max() < 1e-6


def test_by_hand() -> None:
    table = torch.tensor([[math.log(1.0)], [math.log(2.0)], [math.log(5.0)]])
    loss = FullSoftmax()(torch.ones(2, 1), torch.tensor([3, 1]), table)
    assert loss.item() == pytest.approx(math.log(8 / 5) + math.log(8), rel=1e-6)


def test_columns_that_lie_apart_in_memory() -> None:
    hidden, targets, table = make()
    wide = torch.stack([hidden.detach(), hidden.detach()], dim=-1).requires_grad_()
    tall = table.detach().T.contiguous().requires_grad_()
    found = torch.autograd.grad(FullSoftmax()(wide[..., 0], targets, tall.T), (wide, tall))
    expected = torch.autograd.grad(plain(hidden, targets, table), (hidden, table))
    torch.testing.assert_close(found[0][..., 0], expected[0])
    torch.testing.assert_close(found[1].T, expected[1])


@pytest.mark.parametrize(
    ("hidden_grad", "table_grad", "enabled", "products"),
    [(True, True, True, 3), (True, False, True, 2), (False, True, True, 2), (True, True, False, 1)],
)
def test_only_wanted_gradients_are_computed(hidden_grad: bool, table_grad: bool, enabled: bool, products: int) -> None:
    hidden, targets, table = make()
    hidden.requires_grad_(hidden_grad)
    table.requires_grad_(table_grad)
    with torch.set_grad_enabled(enabled), Watch() as watch:
        loss = FullSoftmax()(hidden, targets, table)
    assert watch.products() == products
    assert loss.requires_grad == enabled
    torch.testing.assert_close(loss, plain(hidden, targets, table))
    if enabled:
        loss.backward()
        assert (hidden.grad is not None, table.grad is not None) == (hidden_grad, table_grad)


def test_all_logits_never_exist() -> None:
    hidden, targets, table = make(torch.float32, positions=500, items=20_000)
    with Watch() as watch:
        FullSoftmax()(hidden, targets, table).backward()
    assert watch.largest == 64 * 20_000


@pytest.mark.parametrize(
    ("n_targets", "n_items", "chunk"),
    [(2000, 12_101, 64), (2000, 3416, 256), (50, 12_101, 50), (2000, 1_000_000, 64), (0, 5, 1)],
)
def test_chunks_fill_the_cache_but_are_not_thin(n_targets: int, n_items: int, chunk: int) -> None:
    assert kernel._chunk_size(n_targets, n_items) == chunk


def test_a_second_backward_pass_is_refused() -> None:
    hidden, targets, table = make()
    loss = FullSoftmax()(hidden, targets, table)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_the_gradients_are_not_copied() -> None:
    hidden, targets, table = make(torch.float32, items=5000)
    loss = FullSoftmax()(hidden, targets, table)
    with Watch() as watch:
        loss.backward()
    assert not watch.calls.keys() & {"clone", "copy_", "mul", "new_empty_strided"}


def test_autocast_does_not_round_it() -> None:
    hidden, targets, table = make(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = FullSoftmax()(hidden, targets, table)
    found = torch.autograd.grad(loss, (hidden, table))
    expected = torch.autograd.grad(FullSoftmax()(hidden, targets, table), (hidden, table))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_bfloat16_hidden_states_are_summed_in_the_dtype_of_the_table() -> None:
    hidden, targets, table = make(torch.float32)
    half = hidden.detach().bfloat16()
    loss = FullSoftmax()(half, targets, table)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, FullSoftmax()(half.float(), targets, table))


def test_a_half_precision_table() -> None:
    hidden, targets, table = make(torch.float32, positions=50, items=100)
    loss = FullSoftmax()(hidden, targets, table.bfloat16())
    assert loss.dtype == torch.bfloat16
    assert loss.item() == pytest.approx(plain(hidden, targets, table).item(), rel=2e-2)


def test_repeats_bit_for_bit() -> None:
    hidden, targets, table = make(torch.float32, positions=300, items=5000, width=64)
    losses = [FullSoftmax()(hidden, targets, table) for _ in range(3)]
    gradients = [torch.autograd.grad(loss, (hidden, table)) for loss in losses]
    assert len({loss.item() for loss in losses}) == 1
    for other in gradients[1:]:
        assert all(torch.equal(one, two) for one, two in zip(gradients[0], other, strict=True))


def test_recipes_name_it() -> None:
    assert isinstance(build_loss(FullSoftmaxSettings()), FullSoftmax)


def test_label_smoothing_is_that_of_torch() -> None:
    hidden, targets, table = make()
    found = build_loss(FullSoftmaxSettings(label_smoothing=0.2))(hidden, targets, table)
    expected = F.cross_entropy(hidden @ table.T, targets - 1, reduction="sum", label_smoothing=0.2)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    pairs = [torch.autograd.grad(loss, (hidden, table)) for loss in (found, expected)]
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    ignored = torch.where(torch.arange(T) < 3, targets, 0)
    torch.testing.assert_close(
        FullSoftmax(0.2)(hidden, ignored, table), FullSoftmax(0.2)(hidden[:3], targets[:3], table)
    )
