"""LoRA that begins with the largest singular values and vectors of the weights, and is handed over as plain LoRA.

What is left of the weights is frozen, so they are no longer those of the base model. With the update kept as it began,
the base model's own weights W = rest + s B₀ A₀ come back, and with them the adapter is a plain one of twice the rank:
rest + s B A = W + s [B, -B₀] [A; A₀].

Source: PiSSA, Meng et al. 2024, arXiv:2404.02948.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

_FIRST_A, _FIRST_B = "first_A", "first_B"  # buffers of a layer, so that a checkpoint has them


def keep_first_updates(model: PeftModel, name: str) -> None:
    """Keeps the update that each layer has just been given.

    Args:
        model: with a fresh adapter.
        name: of the adapter.
    """
    for _, layer in _layers(model):
        layer.register_buffer(_FIRST_A, layer.lora_A[name].weight.detach().clone())
        layer.register_buffer(_FIRST_B, layer.lora_B[name].weight.detach().clone())


def starts_from_weights(model: nn.Module) -> bool:
    """Whether the base model's weights lack the update that the adapter began with."""
    return any(hasattr(layer, _FIRST_A) for _, layer in _layers(model))


@torch.no_grad()
def give_back_first_updates(model: PeftModel, name: str) -> None:
    """Puts the base model's own weights back under the adapter, in place; nothing where they are there."""
    for _, layer in _layers(model):
        if hasattr(layer, _FIRST_A):
            first = layer.scaling[name] * layer.first_B @ layer.first_A
            weight = layer.get_base_layer().weight
            weight += first.T if layer.fan_in_fan_out else first


def as_plain_lora(model: PeftModel, name: str) -> dict[str, Tensor]:
    """The state of an adapter for the base model's own weights.

    Args:
        model: with an adapter for which `starts_from_weights` holds; its config is changed to describe that state.
        name: of the adapter.
    """
    config = model.peft_config[name]
    kept = (_FIRST_A, _FIRST_B)
    state = {path: tensor for path, tensor in model.state_dict().items() if not path.endswith(kept)}
    for path, layer in _layers(model):
        state[f"{path}.lora_A.{name}.weight"] = torch.cat([layer.lora_A[name].weight, layer.first_A], dim=0)
        state[f"{path}.lora_B.{name}.weight"] = torch.cat([layer.lora_B[name].weight, -layer.first_B], dim=1)
    config.init_lora_weights = True
    config.r *= 2
    config.lora_alpha *= math.sqrt(2) if config.use_rslora else 2  # the scale stays
    return state


def _layers(model: nn.Module) -> Iterator[tuple[str, BaseTunerLayer]]:
    return ((path, module) for path, module in model.named_modules() if isinstance(module, LoraLayer))
