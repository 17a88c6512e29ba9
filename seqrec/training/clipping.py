"""Clipping of gradients that are dense, sparse or in shards, all together."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor


def clip_gradients(gradients: Iterable[Tensor], limit: float, algorithm: str | None) -> None:
    """Clips in place as `torch.nn.utils` does, which knows neither sparse gradients nor whole ones beside shards.

    Args:
        gradients: dense, sparse and coalesced, or in shards; then all ranks must call this.
        limit: largest norm of all together, or largest value.
        algorithm: `value`, or else the norm.
    """
    parts = [gradient.values() if gradient.is_sparse else gradient for gradient in gradients]
    if algorithm == "value":
        for part in parts:
            part.clamp_(-limit, limit)
        return
    factor = (limit / (total_norm(parts) + 1e-6)).clamp(max=1.0)
    for part in parts:
        part.mul_(factor)


def total_norm(gradients: Iterable[Tensor]) -> Tensor:
    """The norm of all gradients together, the same on every rank.

    Args:
        gradients: dense; those in shards count whole.
    Returns:
        (), of a plain tensor.
    """
    groups: dict[DeviceMesh | None, list[Tensor]] = {}
    for gradient in gradients:
        groups.setdefault(gradient.device_mesh if isinstance(gradient, DTensor) else None, []).append(gradient)
    norms = [torch.nn.utils.get_total_norm(group) for group in groups.values()]
    return torch.nn.utils.get_total_norm([norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms])
