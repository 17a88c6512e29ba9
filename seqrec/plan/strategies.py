"""Memory of one rank under each strategy, from a step traced on one device that holds everything whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seqrec.models import RankingModel
from seqrec.plan.allocations import KINDS
from seqrec.plan.constants import (
    ACCELERATOR_BASE,
    ACCELERATOR_FRAGMENTATION,
    CPU_BASE,
    CPU_FRAGMENTATION,
    ZERO_BUCKET,
    ZERO_LIVE,
)
from seqrec.plan.trace import StepTrace

FLOAT = 4  # bytes


class Sizes(NamedTuple):
    """Bytes of a model's parameters in float32, and of its buffers.

    Attributes:
        trained, frozen: all parameters.
        block: those of the largest block, which FSDP2 gathers as one.
        root: those outside the blocks.
        trained_root: those of them that are trained.
        largest: the largest trained parameter.
        buffers: what else a model holds.
        average: the average of weights, where one is kept.
    """

    trained: int
    frozen: int
    block: int
    root: int
    trained_root: int
    largest: int
    buffers: int
    average: int

    @classmethod
    def of(cls, model: RankingModel, *, averaged: bool) -> Sizes:
        """Of a model on any device, of whose weights an average is kept or not."""
        blocks = [list(block.parameters()) for block in model.backbone.blocks()]
        inside = {id(parameter) for block in blocks for parameter in block}
        parameters = list(model.parameters())
        root = [parameter for parameter in parameters if id(parameter) not in inside]
        trained, trained_root = ([p for p in some if p.requires_grad] for some in (parameters, root))
        counts = [sum(p.numel() for p in some) * FLOAT for some in (trained, parameters, root, trained_root)]
        return cls(
            trained=counts[0],
            frozen=counts[1] - counts[0],
            block=max((sum(p.numel() for p in block) * FLOAT for block in blocks), default=0),
            root=counts[2],
            trained_root=counts[3],
            largest=max((p.numel() for p in trained), default=0) * FLOAT,
            buffers=sum(buffer.numel() * buffer.element_size() for buffer in model.buffers()),
            average=counts[0] * averaged,
        )


class RankMemory(NamedTuple):
    """Bytes of a rank at the moment of a step at which it holds most.

    Attributes:
        weights: with what is gathered of other ranks' shards.
        gradients: of parameters.
        optimizer: states, and DeepSpeed's own copy of the weights in float32.
        activations: what the backbone's forward pass keeps.
        loss: what the loss keeps and computes in.
        buffers: what communication and the backward pass or the update need meanwhile, and the model's own buffers.
        base: of the process itself.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    loss: int
    buffers: int
    base: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)


class _Held(NamedTuple):
    """What a strategy makes of the whole.

    Attributes:
        weights, gradients, optimizer, buffers: bytes that are there throughout the step.
        previous: share of the last step's gradients that is there until the backward pass.
        kept: shares of the gradients made so far in the backward pass, of blocks and of what lies outside.
        in_update: share of the gradients in the update.
        after: bytes that are there after the backward pass, beside `weights` to `buffers` and the update's own.
        update: share of the update's own needs.
    """

    weights: float
    gradients: float = 0.0
    optimizer: float = 0.0
    buffers: float = 0.0
    previous: float = 0.0
    kept: tuple[float, float] = (1.0, 1.0)
    in_update: float = 1.0
    after: float = 0.0
    update: float = 1.0


class Rank(NamedTuple):
    """What memory depends on beside the model: W ranks, the last step's trace, and how weights are kept."""

    trace: StepTrace
    sizes: Sizes
    world_size: int
    on_cpu: bool
    half: bool
    micro_batches: int

    @property
    def float_size(self) -> float:
        """Size of weights and gradients that a strategy keeps in half precision, in terms of float32."""
        return 0.5 if self.half else 1.0


def rank_memory(strategy: str, rank: Rank) -> RankMemory:
    """Memory of a rank at its peak.

    Args:
        strategy: a key of `HELD`.
        rank: what it computes.
    """
    held = HELD[strategy](rank)
    parts = dict(zip(KINDS, rank.trace.moments.T.astype(np.float64), strict=True))
    updating = parts["update"] > 0
    made = held.kept[0] * parts["block_gradients"] + held.kept[1] * parts["gradients"]
    gradients = np.where(updating, held.in_update * rank.sizes.trained, held.previous * parts["previous"] + made)
    others = parts["backward"] + held.update * parts["update"] + held.after * updating
    moving = np.stack([parts["forward"], parts["loss"], others, gradients])
    forward, loss, others_then, gradients_then = moving[:, moving.sum(0).argmax()]
    base = CPU_BASE if rank.on_cpu else ACCELERATOR_BASE
    factor = CPU_FRAGMENTATION if rank.on_cpu else ACCELERATOR_FRAGMENTATION
    return RankMemory(
        weights=round(held.weights),
        gradients=round(held.gradients + gradients_then),
        optimizer=round(held.optimizer),
        activations=round(factor * forward),
        loss=round(factor * loss),
        buffers=round(rank.sizes.buffers + held.buffers + factor * others_then),
        base=base,
    )


def _whole(rank: Rank) -> _Held:
    return _Held(rank.sizes.trained + rank.sizes.frozen, optimizer=rank.trace.states + rank.sizes.average, previous=1.0)


def _ddp(rank: Rank) -> _Held:
    """DDP copies gradients into buckets."""
    return _whole(rank)._replace(buffers=rank.sizes.trained)


def _fsdp2(rank: Rank) -> _Held:
    """Shards; weights outside the blocks whole from the forward pass to the end of the backward pass; two blocks."""
    sizes, share = rank.sizes, 1 / rank.world_size
    gathered = sizes.root + 2 * sizes.block * rank.float_size
    all_kept = rank.micro_batches > 1  # gradients are reduced with the step's last micro-batch
    return _Held(
        weights=share * (sizes.trained + sizes.frozen) + gathered,
        optimizer=share * rank.trace.states,
        buffers=2 * min(sizes.block, sizes.trained),
        previous=share,
        kept=(1.0 if all_kept else share, 1.0),
        in_update=share,
        after=-gathered,
        update=share,
    )


def _fsdp2_offload(rank: Rank) -> _Held:
    held, sizes = _fsdp2(rank), rank.sizes
    shards = (sizes.trained + sizes.frozen) / rank.world_size
    return held._replace(weights=held.weights - shards, optimizer=0, previous=0, in_update=0, update=0)


def _zero(rank: Rank) -> _Held:
    """Stages 1 and 2: gradients move into buckets; then the rank's part of them is copied, and cast to float32."""
    sizes, size = rank.sizes, rank.float_size
    part = sizes.trained / rank.world_size
    held = _Held(
        weights=(sizes.trained + sizes.frozen) * size,
        optimizer=part + rank.trace.states / rank.world_size,
        in_update=0,
        update=0,
    )
    in_update = 2 * part + rank.trace.peak("update") / rank.world_size
    if rank.on_cpu:  # pages of a bucket count once they are written to
        return held._replace(after=max(sizes.trained + sizes.largest + part, in_update))
    return held._replace(buffers=2 * ZERO_BUCKET * FLOAT * size, kept=(0, 0), after=in_update)


def _zero_offload(rank: Rank) -> _Held:
    return _zero(rank)._replace(optimizer=0, after=0)


def _zero_3(rank: Rank) -> _Held:
    """Weights in shards, and gathered ones, which stage 3 lets go of only beyond a limit."""
    sizes, size = rank.sizes, rank.float_size
    whole, part = sizes.trained + sizes.frozen, sizes.trained / rank.world_size
    bucket = min(sizes.trained, ZERO_BUCKET * FLOAT) if rank.on_cpu else ZERO_BUCKET * FLOAT
    return _Held(
        weights=(whole / rank.world_size + min(whole, ZERO_LIVE * FLOAT)) * size,
        gradients=part * size,
        optimizer=part + rank.trace.states / rank.world_size,
        buffers=(bucket + part) * size,
        kept=(0, 0),
        in_update=0,
        after=part + rank.trace.peak("update") / rank.world_size - min(whole, ZERO_LIVE * FLOAT) * size,
        update=0,
    )


def _zero_3_offload(rank: Rank) -> _Held:
    held, sizes = _zero_3(rank), rank.sizes
    shards = (sizes.trained + sizes.frozen) / rank.world_size * rank.float_size
    return held._replace(weights=held.weights - shards, gradients=0, optimizer=0, after=0)


HELD: dict[str, Callable[[Rank], _Held]] = {
    "auto": _whole,
    "ddp": _ddp,
    "fsdp2": _fsdp2,
    "fsdp2_offload": _fsdp2_offload,
    "deepspeed_stage_1": _zero,
    "deepspeed_stage_2": _zero,
    "deepspeed_stage_2_offload": _zero_offload,
    "deepspeed_stage_3": _zero_3,
    "deepspeed_stage_3_offload": _zero_3_offload,
}
