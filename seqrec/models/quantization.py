"""Backbones whose linear layers are frozen in four bits, under an adapter.

Source: QLoRA, Dettmers et al. 2023, arXiv:2305.14314.
"""

from __future__ import annotations

import importlib.util
from typing import Literal

import torch
from torch import nn
from transformers import AutoModel, BitsAndBytesConfig, PretrainedConfig, PreTrainedModel

from seqrec.errors import MissingExtraError


def load_quantized(source: str, config: PretrainedConfig, kind: Literal["nf4"]) -> PreTrainedModel:
    """A pretrained model in float32, but for its linear layers.

    Quantized on the CPU and moved to its device later, so that the weights, and the base model's fingerprint, are the
    same wherever it is trained or served.

    Args:
        source: folder or hub name.
        config: of the model.
        kind: `nf4` has a table of 16 values for normally distributed weights, and a scale for each 64 of them.
    Raises:
        MissingExtraError: bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError.of("bitsandbytes", extra="quantize", needed_for=f"`model.backbone.quantize: {kind}`")
    model: PreTrainedModel = AutoModel.from_pretrained(
        source,
        config=config,
        dtype=torch.float32,
        device_map={"": "cpu"},
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_compute_dtype=torch.float32
        ),
    )
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # in evaluation it would round scales to bfloat16, for good
    return model


def is_quantized(model: nn.Module) -> bool:
    """Whether weights of a Hugging Face model, with an adapter or without, are packed."""
    return getattr(model, "hf_quantizer", None) is not None
