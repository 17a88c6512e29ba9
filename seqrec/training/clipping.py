"""Clipping of gradients that are dense, sparse or in shards, all together."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from seqrec.training.collectives import RankSum


def gradients_of(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """The gradients that there are; sparse ones are coalesced in their places."""
    found = []
    for parameter in parameters:
        if parameter.grad is not None:
            if parameter.grad.is_sparse:
                parameter.grad = parameter.grad.coalesce()
            found.append(parameter.grad)
    return found


def clip_gradients(
    gradients: Iterable[Tensor], limit: float, algorithm: str | None, *, of_rank: Iterable[Tensor] = ()
) -> None:
    """Clips in place as `torch.nn.utils` does, which knows neither sparse gradients nor whole ones beside shards.

    Args:
        gradients: dense, sparse and coalesced, or in shards; then all ranks must call this.
        limit: largest norm of all together, or largest value.
        algorithm: `value`, or else the norm.
        of_rank: further gradients, which no other rank has; all ranks must call this with as many.
    """
    parts, own = ([g.values() if g.is_sparse else g for g in some] for some in (gradients, of_rank))
    if algorithm == "value":
        for part in [*parts, *own]:
            part.clamp_(-limit, limit)
        return
    factor = (limit / (total_norm(parts, of_rank=own) + 1e-6)).clamp(max=1.0)
    for part in [*parts, *own]:
        part.mul_(factor)


def total_norm(gradients: Iterable[Tensor], *, of_rank: Iterable[Tensor] = ()) -> Tensor:
    """The norm of all gradients together, the same on every rank.

    Args:
        gradients: dense; those in shards count whole.
        of_rank: as for `clip_gradients`.
    Returns:
        (), of a plain tensor.
    """
    groups: dict[DeviceMesh | None, list[Tensor]] = {}
    for gradient in gradients:
        groups.setdefault(gradient.device_mesh if isinstance(gradient, DTensor) else None, []).append(gradient)
    norms = [torch.nn.utils.get_total_norm(group) for group in groups.values()]
    norms += [RankSum(torch.linalg.vector_norm(gradient).square()).wait().sqrt() for gradient in of_rank]
    return torch.nn.utils.get_total_norm([norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms])
