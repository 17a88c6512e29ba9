"""PEFT adapters around a backbone: their settings, and what training has to do for them."""

from seqrec.models.adapters.adalora import (
    allocate_ranks,
    allocator_state,
    load_allocator_state,
    orthogonality_penalty,
    rank_pattern,
)
from seqrec.models.adapters.attach import ADAPTER_NAME, attach, can_merge
from seqrec.models.adapters.settings import (
    AdaLoraSettings,
    AdapterSettings,
    BottleneckSettings,
    Ia3Settings,
    LayerNormSettings,
    LoraSettings,
    OftSettings,
)

__all__ = [
    "ADAPTER_NAME",
    "AdaLoraSettings",
    "AdapterSettings",
    "BottleneckSettings",
    "Ia3Settings",
    "LayerNormSettings",
    "LoraSettings",
    "OftSettings",
    "allocate_ranks",
    "allocator_state",
    "attach",
    "can_merge",
    "load_allocator_state",
    "orthogonality_penalty",
    "rank_pattern",
]
