"""Memory of one training step, by running it without values.

The step runs on fake tensors, which have shapes and no data: PyTorch's own operators, autograd and optimizer say what
they allocate and when they let go of it. A model of any size is traced in seconds on a laptop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves

from seqrec.event_columns import EventColumns
from seqrec.models import FullSoftmax, MicroBatch, Negatives, RankingModel
from seqrec.plan.allocations import KINDS, Allocations
from seqrec.plan.softmax import FullSoftmaxOutline
from seqrec.plan.workload import Workload
from seqrec.training import OptimizerSettings
from seqrec.training.optimizer import build_optimizer


class StepTrace(NamedTuple):
    """One step on one device that holds everything whole.

    Attributes:
        moments: int64 (n, 7), bytes alive of each of `KINDS` after every allocation of the step, in time; beside
            weights, buffers and optimizer states.
        states: bytes of optimizer states.
        flops: FLOP of a micro-batch, forward and backward.
    """

    moments: npt.NDArray[np.int64]
    states: int
    flops: float

    def peak(self, kind: str) -> int:
        """The most bytes alive of a kind."""
        return int(self.moments[:, KINDS.index(kind)].max())


def trace_step(
    model: RankingModel, optimizer: OptimizerSettings, workload: Workload, *, precision: str, on_cpu: bool
) -> StepTrace:
    """Runs a step of a model on the meta device, whose parameters are replaced.

    Where a step has several micro-batches, the trace has two: gradients are made, then added to.

    Args:
        model: on the meta device, in training mode.
        optimizer: which states there are, and what a step of it takes.
        workload: shape of a micro-batch.
        precision: as Lightning names it; those of 16 bits run under autocast.
        on_cpu: trace the CPU's kernel of the full softmax, not an accelerator's.
    """
    with FakeTensorMode():
        _give_fake_values(model)
        softmax = FullSoftmaxOutline(on_cpu=on_cpu)
        if isinstance(model.loss, FullSoftmax):
            model.loss = softmax
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        steps = build_optimizer(optimizer, trained, table=model.items.weight)
        for group in steps.param_groups:
            group.update(fused=on_cpu, foreach=not on_cpu)  # `build_optimizer`'s choice, which sees fake tensors here
        for parameter in trained:
            parameter.grad = torch.empty_like(parameter)
        with Allocations([]):
            steps.step()  # so that states are there, as in every step but the first
        states = sum(_bytes(value) for state in steps.state.values() for value in state.values())
        there = [*model.parameters(), *model.buffers(), *tree_leaves(list(steps.state.values()))]
        trace = Allocations(value for value in there if isinstance(value, Tensor))
        _note_gradients(model, trace)
        if optimizer.table_updates == "rows":  # what rows take instead is small, and no trace knows sparse tensors
            model.items.weight.grad = None
            trained = [p for p in trained if p is not model.items.weight]
            model.items.weight.requires_grad_(False)
            model.items.row_gradients = False
        with trace:
            trace.part = "previous"
            for parameter in trained:
                parameter.grad = torch.empty_like(parameter)
            for number in range(min(workload.micro_batches, 2)):
                loss = _forward(model, workload, trace, precision)
                if number == 0:
                    steps.zero_grad()
                trace.part = "backward"
                loss.backward()  # type: ignore[no-untyped-call]
                del loss
                if number == 0:
                    flops = trace.flops + softmax.flops
            trace.part = "update"
            steps.step()
    return StepTrace(np.array(trace.moments, np.int64).reshape(-1, len(KINDS)), states, flops)


def _forward(model: RankingModel, workload: Workload, trace: Allocations, precision: str) -> Tensor:
    """The loss of a micro-batch."""
    rows, length = workload.rows, workload.length
    half = "16" in precision
    trace.part = "forward"
    with torch.autocast("cpu", torch.bfloat16, enabled=half), _loss_after_backbone(model, trace):
        inputs, lengths = torch.ones(rows, length).long(), torch.ones(rows).long()
        batch = MicroBatch(
            inputs,
            lengths,
            targets=inputs,
            events=EventColumns.blank(model.columns, (rows, length)),
            dropout_keys=lengths,
            places=torch.ones(workload.targets, dtype=torch.long),
        )
        loss = model.training_loss(batch, _negatives(model))
        penalty = model.penalty()
    return loss if penalty is None else loss + penalty


@contextmanager
def _loss_after_backbone(model: RankingModel, trace: Allocations) -> Iterator[None]:
    def begin(*_: Any) -> None:
        trace.part = "loss"

    hook = model.backbone.register_forward_hook(begin)
    try:
        yield
    finally:
        hook.remove()


def _note_gradients(model: RankingModel, trace: Allocations) -> None:
    inside = {id(parameter) for block in model.backbone.blocks() for parameter in block.parameters()}
    for parameter in model.parameters():
        if parameter.requires_grad:
            kind = "block_gradients" if id(parameter) in inside else "gradients"
            note = partial(trace.note_gradient, kind=kind)
            parameter.register_post_accumulate_grad_hook(note)  # type: ignore[no-untyped-call]


def _negatives(model: RankingModel) -> Negatives | None:
    settings = model.loss.negatives
    if settings is None:
        return None
    n = min(settings.uniform + settings.popularity + settings.in_batch, model.n_items)
    return Negatives(torch.ones(n, dtype=torch.long), torch.ones(n), torch.ones(n))


def _give_fake_values(model: nn.Module) -> None:
    """From the meta device to the CPU, as far as fake tensors are there: code asks where a tensor is."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            fake = nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype), parameter.requires_grad)
            setattr(module, name, fake)
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))


def _bytes(value: Any) -> int:
    return value.untyped_storage().nbytes() if isinstance(value, Tensor) else 0
