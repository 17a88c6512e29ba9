"""Traffic and time of a step under each strategy; a model of limits, not a measurement."""

from __future__ import annotations

from typing import NamedTuple

from seqrec.plan.constants import (
    COMPUTE_EFFICIENCY,
    HOST_RATE,
    LINK_EFFICIENCY,
    MEMORY_EFFICIENCY,
    ZERO_LIVE,
)
from seqrec.plan.devices import Device
from seqrec.plan.strategies import FLOAT, Rank

_ADAM_PASSES = 7  # reads weight, gradient and both averages; writes all but the gradient


class StepCost(NamedTuple):
    """What a step costs a rank.

    Attributes:
        flops: FLOP of the matrix products.
        traffic: bytes that it sends to other ranks.
        compute, communication, update: seconds each would take alone.
    """

    flops: float
    traffic: float
    compute: float
    communication: float
    update: float

    @property
    def seconds(self) -> float:
        """Communication runs beside the computing; the update waits for both."""
        return max(self.compute, self.communication) + self.update


def step_cost(strategy: str, rank: Rank, device: Device, *, nodes: int) -> StepCost:
    """Cost of a step.

    Args:
        strategy: a key of `seqrec.plan.strategies.HELD`.
        rank: what it computes.
        device: on what.
        nodes: with more than one, the network between them is what all wait for.
    """
    flops = rank.trace.flops * rank.micro_batches
    rate = (device.bf16 if rank.half else device.float32) * COMPUTE_EFFICIENCY
    traffic = _traffic(strategy, rank)
    link = (device.network if nodes > 1 else device.link) * LINK_EFFICIENCY
    whole = strategy in ("auto", "ddp")
    updated = _ADAM_PASSES * rank.sizes.trained / (1 if whole else rank.world_size)
    memory_rate = HOST_RATE if strategy.endswith("_offload") else device.memory_rate * MEMORY_EFFICIENCY
    return StepCost(flops, traffic, flops / rate, traffic / link, updated / memory_rate)


def _traffic(strategy: str, rank: Rank) -> float:
    """Of ring collectives, in which a rank sends (W - 1) / W of what is reduced or gathered, an all-reduce both."""
    sizes, passes = rank.sizes, rank.micro_batches
    ring = (rank.world_size - 1) / rank.world_size
    whole = sizes.trained + sizes.frozen
    blocks = (whole - sizes.root) * rank.float_size
    if strategy in ("auto", "ddp"):
        return ring * 2 * sizes.trained
    if strategy.startswith("fsdp2"):  # blocks forward and backward, the rest once, gradients with the last pass
        return ring * (passes * (2 * blocks + sizes.root) + sizes.trained)
    reduced = sizes.trained * rank.float_size
    if strategy.startswith("deepspeed_stage_3"):
        gathers = 1 if whole <= ZERO_LIVE * FLOAT else 2
        return ring * passes * (gathers * whole * rank.float_size + reduced)
    reductions = 1 if strategy == "deepspeed_stage_1" else passes
    return ring * (reductions * reduced + reduced)
