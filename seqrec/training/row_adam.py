"""Adam whose work over a table with sparse gradients is that of the rows they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adam import adam


class RowAdam(Optimizer):
    """Adam and AdamW that update, of a parameter with a sparse gradient, only the rows touched by it.

    A row is touched in a step where its gradient is not zero. For the step it is what it is to torch's Adam: its
    averages decay, it is moved, and decays by ``weight_decay``. Every other row, and its averages, stay as they are;
    under dense Adam such a row goes on along its momentum, and decays. Bias correction goes by the steps taken, not by
    those in which a row was touched, as in `torch.optim.SparseAdam`. Parameters with dense gradients are updated as
    ever, and the state is that of `torch.optim.Adam`.

    Args:
        params: parameters or groups.
        lr, betas, eps, weight_decay, decoupled_weight_decay, fused: as in `torch.optim.Adam`.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        decoupled_weight_decay: bool = False,
        fused: bool | None = None,
    ):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "fused": fused}
        super().__init__(params, defaults | {"decoupled_weight_decay": decoupled_weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; ``closure`` computes the gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parts = [self._part(parameter) for parameter in group["params"] if parameter.grad is not None]
            adam(
                [part.weight for part in parts],
                [part.gradient for part in parts],
                [part.average for part in parts],
                [part.square_average for part in parts],
                [],
                [part.step for part in parts],
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                decoupled_weight_decay=group["decoupled_weight_decay"],
                fused=group["fused"],
                amsgrad=False,
                maximize=False,
            )
            for part in parts:
                self._put_back(part)
        return loss

    def _part(self, parameter: nn.Parameter) -> _Part:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        whole = (parameter, state["exp_avg"], state["exp_avg_sq"])
        assert parameter.grad is not None
        if not parameter.grad.is_sparse:
            return _Part(parameter, parameter.grad, *whole[1:], state["step"], whole, None)
        rows, gradient = touched(parameter.grad)
        copies = [each.index_select(0, rows) for each in whole]
        return _Part(copies[0], gradient, copies[1], copies[2], state["step"], whole, rows)

    def _put_back(self, part: _Part) -> None:
        if part.rows is not None:
            for whole, rows in zip(part.whole, (part.weight, part.average, part.square_average), strict=True):
                whole.index_copy_(0, part.rows, rows)


class _Part(NamedTuple):
    """What Adam works on: a whole parameter, or copies of some of its rows and their state."""

    weight: Tensor
    gradient: Tensor
    average: Tensor
    square_average: Tensor
    step: Tensor
    whole: tuple[Tensor, Tensor, Tensor]
    rows: Tensor | None


def touched(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of a sparse gradient that are not zero, as those of padding or of a rank's filler are.

    Args:
        gradient: sparse (N, D).
    Returns:
        int64 (U,), ascending, and float (U, D).
    """
    gradient = gradient.coalesce()
    rows, values = gradient.indices()[0], gradient.values()
    kept = (values.abs().amax(1) != 0).nonzero().squeeze(1)  # on the CPU ten times as fast as `any`
    return rows[kept], values.index_select(0, kept)
