"""Devices that a plan can be made for, and what their makers say of them."""

from __future__ import annotations

import os
from typing import NamedTuple

from seqrec.errors import RecipeError, nearest

GIB = 2**30


class Device(NamedTuple):
    """One device, and how it reaches others.

    Attributes:
        memory: bytes that programs can have.
        bf16, float32: FLOP/s of dense matrix products, as the maker gives them.
        memory_rate: bytes/s from and to its memory.
        link: bytes/s that it sends to others of its node.
        network: bytes/s that it sends to other nodes, with the network that such machines usually have.
        source: where the figures are from.
    """

    memory: int
    bf16: float
    float32: float
    memory_rate: float
    link: float
    network: float
    source: str


_HOPPER = "NVIDIA H100 and H200 data sheets (SXM); 400 Gbit/s a GPU between nodes"
_AMPERE = "NVIDIA A100 data sheet (SXM); 200 Gbit/s a GPU between nodes"

DEVICES = {
    "h100-80gb": Device(int(79.6 * GIB), 989e12, 67e12, 3.35e12, 450e9, 50e9, _HOPPER),
    "h200-141gb": Device(int(140.4 * GIB), 989e12, 67e12, 4.8e12, 450e9, 50e9, _HOPPER),
    "a100-80gb": Device(int(79.2 * GIB), 312e12, 19.5e12, 2.04e12, 300e9, 25e9, _AMPERE),
    "a100-40gb": Device(int(39.4 * GIB), 312e12, 19.5e12, 1.56e12, 300e9, 25e9, _AMPERE),
    "l4-24gb": Device(
        int(22.0 * GIB), 121e12, 30.3e12, 0.3e12, 32e9, 3e9, "NVIDIA L4 data sheet; PCIe 4, 25 Gbit/s between nodes"
    ),
    "rtx-4090-24gb": Device(
        int(23.5 * GIB), 165e12, 82.6e12, 1.01e12, 32e9, 1.25e9, "NVIDIA Ada white paper; PCIe 4, 10 Gbit/s"
    ),
}


def find_device(name: str) -> Device:
    """A device by name; `cpu` is this machine.

    Raises:
        RecipeError: no such device.
    """
    if name == "cpu":
        return _this_machine()
    if name in DEVICES:
        return DEVICES[name]
    known = [*DEVICES, "cpu"]
    near = nearest(name, known)
    raise RecipeError(
        f"no device `{name}`",
        where="--device",
        known=", ".join(known),
        do=f"did you mean `{near}`?" if near else "take one of these",
    )


def _this_machine() -> Device:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    source = "this machine's memory; 50 GFLOP/s and 10 GB/s a process, 1 GB/s between machines"
    return Device(memory, 50e9, 50e9, 10e9, 2e9, 1e9, source)
