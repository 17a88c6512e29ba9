"""A step made by hand: 100 bytes of weights, all trained, of which 60 lie in blocks, and 200 of states."""

from __future__ import annotations

import numpy as np
import pytest

from seqrec.plan.allocations import KINDS
from seqrec.plan.constants import CPU_BASE, ZERO_BUCKET
from seqrec.plan.cost import step_cost
from seqrec.plan.devices import DEVICES
from seqrec.plan.strategies import HELD, Rank, RankMemory, Sizes, rank_memory
from seqrec.plan.trace import StepTrace

SIZES = Sizes(trained=100, frozen=0, block=20, root=40, trained_root=40, largest=40, buffers=0, average=0)
MOMENTS = (
    {"previous": 100, "forward": 50},
    {"previous": 100, "forward": 50, "loss": 10},
    {"forward": 30, "loss": 10, "backward": 20, "block_gradients": 20},
    {"backward": 80, "block_gradients": 60},
    {"block_gradients": 60, "gradients": 40, "update": 80},
)


def rank(world_size: int = 4, *, on_cpu: bool = True, half: bool = False, micro_batches: int = 1) -> Rank:
    moments = np.array([[moment.get(kind, 0) for kind in KINDS] for moment in MOMENTS])
    return Rank(StepTrace(moments, states=200, flops=1e12), SIZES, world_size, on_cpu, half, micro_batches)


def test_one_process_holds_everything() -> None:
    found = rank_memory("auto", rank(1))
    assert found == RankMemory(100, 100, 200, 0, 0, 80, CPU_BASE)  # its peak is the update
    assert found.total == 480 + CPU_BASE


def test_ddp_has_gradients_twice() -> None:
    assert rank_memory("ddp", rank()) == RankMemory(100, 100, 200, 0, 0, 80 + 100, CPU_BASE)


def test_fsdp2_has_shards_and_what_is_gathered() -> None:
    # a quarter of weights and states; the root and two blocks whole; a quarter of the block gradients made by then
    assert rank_memory("fsdp2", rank()) == RankMemory(25 + 40 + 40, 15, 50, 0, 0, 80 + 40, CPU_BASE)


def test_fsdp2_keeps_whole_gradients_between_micro_batches() -> None:
    assert rank_memory("fsdp2", rank(micro_batches=2)).gradients == 60


def test_zero_shards_states_and_keeps_weights_of_its_own() -> None:
    found = rank_memory("deepspeed_stage_1", rank())
    assert (found.weights, found.optimizer) == (100, 25 + 50)
    assert found.buffers == 100 + 40 + 25  # gradients in a bucket, the largest beside it, and the rank's part
    assert rank_memory("deepspeed_stage_3", rank()).weights == 25 + 100


def test_a_bucket_counts_whole_on_an_accelerator() -> None:
    assert rank_memory("deepspeed_stage_2", rank(on_cpu=False)).buffers >= 2 * 4 * ZERO_BUCKET
    assert rank_memory("deepspeed_stage_2", rank(on_cpu=False, half=True)).weights == 50


@pytest.mark.parametrize("strategy", [name for name in HELD if name.endswith("_offload")])
def test_offloading_takes_states_from_the_device(strategy: str) -> None:
    names = strategy, strategy.removesuffix("_offload")
    offloaded, plain = (rank_memory(name, rank(on_cpu=False)) for name in names)
    assert offloaded.optimizer == 0 < plain.optimizer
    assert offloaded.total < plain.total


def test_traffic_of_ring_collectives() -> None:
    device = DEVICES["h100-80gb"]
    sent = {name: step_cost(name, rank(), device, nodes=1).traffic for name in ("ddp", "fsdp2", "deepspeed_stage_1")}
    assert sent == {"ddp": 0.75 * 200, "fsdp2": 0.75 * (2 * 60 + 40 + 100), "deepspeed_stage_1": 0.75 * 200}
    assert step_cost("auto", rank(1), device, nodes=1).traffic == 0


def test_time_of_a_step() -> None:
    device = DEVICES["h100-80gb"]
    within, between = (step_cost("ddp", rank(half=True), device, nodes=n) for n in (1, 2))
    assert within.compute == pytest.approx(1e12 / (0.35 * 989e12))
    assert between.communication == pytest.approx(within.communication * device.link / device.network)
    assert within.seconds == max(within.compute, within.communication) + within.update
