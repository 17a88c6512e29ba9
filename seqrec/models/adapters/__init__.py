"""PEFT adapters around a backbone: their settings, and what training has to do for them."""

from seqrec.models.adapters.adalora import (
    allocate_ranks,
    allocator_state,
    load_allocator_state,
    orthogonality_penalty,
    rank_pattern,
)
from seqrec.models.adapters.attach import (
    ADAPTER_NAME,
    attach,
    forget_words,
    virtual_tokens,
    why_not_merged,
    without_adapter,
)
from seqrec.models.adapters.pissa import as_plain_lora, starts_from_weights
from seqrec.models.adapters.settings import (
    AdaLoraSettings,
    AdapterSettings,
    BottleneckSettings,
    Ia3Settings,
    LayerNormSettings,
    LoraSettings,
    OftSettings,
    PrefixSettings,
    PromptSettings,
    VeraSettings,
    VirtualTokenSettings,
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
    "PrefixSettings",
    "PromptSettings",
    "VeraSettings",
    "VirtualTokenSettings",
    "allocate_ranks",
    "allocator_state",
    "as_plain_lora",
    "attach",
    "forget_words",
    "load_allocator_state",
    "orthogonality_penalty",
    "rank_pattern",
    "starts_from_weights",
    "virtual_tokens",
    "why_not_merged",
    "without_adapter",
]
