"""What operators allocate, and when it is let go of."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

# What a storage is for: by the part of the step that made it, until it becomes a gradient of a parameter of the blocks
# or of what lies outside them. Lightning clears a step's gradients only after the next one's forward pass.
KINDS = ("previous", "forward", "loss", "backward", "block_gradients", "gradients", "update")
_ATEN = torch.ops.aten
# torch knows attention's kernels of accelerators only; those of the CPU take the same arguments
_FLOPS = flop_registry | {
    _ATEN._scaled_dot_product_flash_attention_for_cpu: flop_registry[_ATEN._scaled_dot_product_flash_attention],
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        _ATEN._scaled_dot_product_flash_attention_backward
    ],
}


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every storage from its making to its end, and counts FLOP.

    Not torch's `FlopCounterMode`, whose hooks on modules keep what activation checkpointing makes again.

    Args:
        there: tensors that are there before, which are not counted.

    Attributes:
        part: of the step that is running, one of `KINDS`.
        moments: bytes alive of each of `KINDS`, after every allocation and where what is alive changes its kind.
        flops: FLOP so far.
    """

    def __init__(self, there: Iterable[Tensor]):
        super().__init__()  # type: ignore[no-untyped-call]
        self.part = "forward"
        self.flops = 0.0
        self.moments: list[tuple[int, ...]] = []
        self._alive = dict.fromkeys(KINDS, 0)
        self._storages: dict[int, tuple[str, int]] = {}
        self._not_counted = {tensor.untyped_storage()._cdata for tensor in there}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1  # a branch on a value: the one that kernels are written for
        if func is torch.ops.aten.add.Tensor and self.part == "backward" and _alike(*args):
            func = torch.ops.aten.add_.Tensor  # as autograd adds up gradients where tensors are real
        made = func(*args, **(kwargs or {}))
        if (formula := _FLOPS.get(func._overloadpacket)) is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=made)
        before = len(self._storages)
        for value in tree_leaves(made):
            if isinstance(value, Tensor):
                self._count(value)
        if len(self._storages) != before:
            self._note_moment()
        return made

    def note_gradient(self, parameter: Tensor, *, kind: str) -> None:
        """What was made by the backward pass is a parameter's gradient now."""
        assert parameter.grad is not None
        key = parameter.grad.untyped_storage()._cdata
        made_as, size = self._storages[key]
        self._alive[made_as] -= size
        self._alive[kind] += size
        self._storages[key] = kind, size
        self._note_moment()

    def _note_moment(self) -> None:
        self.moments.append(tuple(self._alive.values()))

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._storages or key in self._not_counted:
            return
        self._storages[key] = self.part, storage.nbytes()
        self._alive[self.part] += storage.nbytes()
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        kind, size = self._storages.pop(key)
        self._alive[kind] -= size


def _alike(one: Any, other: Any) -> bool:
    return (
        isinstance(one, Tensor) and isinstance(other, Tensor) and (one.shape, one.dtype) == (other.shape, other.dtype)
    )
