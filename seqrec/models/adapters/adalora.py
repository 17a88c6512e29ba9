"""AdaLoRA's allocation of ranks while training, and the state that peft does not save."""

from __future__ import annotations

import torch
from peft import AdaLoraConfig, PeftModel
from torch import Tensor

from seqrec.models.adapters.attach import ADAPTER_NAME

_AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")


def orthogonality_penalty(model: PeftModel) -> Tensor | None:
    """AdaLoRA's weighted orthogonality penalty, or None for other adapters.

    peft adds it only to a loss that the wrapped model itself returns, and ours is computed outside it (peft#432).
    """
    config = model.peft_config[ADAPTER_NAME]
    if not isinstance(config, AdaLoraConfig):
        return None
    terms = []
    for name, parameter in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            gram = parameter @ parameter.T if "lora_A" in name else parameter.T @ parameter
            terms.append(torch.linalg.norm(gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)))
    weight: float = config.orth_reg_weight
    return weight * torch.stack(terms).mean()


def allocate_ranks(model: PeftModel, step: int) -> None:
    """Moves AdaLoRA's ranks as its schedule says; nothing for other adapters.

    Once an optimizer step, after it and before the gradients are cleared: importance is measured from them (peft#432).

    Args:
        model: what `attach` gave.
        step: optimizer steps done, 1..total_steps.
    """
    if not isinstance(model.peft_config[ADAPTER_NAME], AdaLoraConfig):
        return
    devices = {name: parameter.device for name, parameter in model.base_model.model.named_parameters()}
    for averages in _averages(model).values():  # they are plain tensors, which do not follow the model to its device
        averages.update({name: tensor.to(devices[name]) for name, tensor in averages.items()})
    model.base_model.update_and_allocate(step)


def allocator_state(model: PeftModel) -> dict[str, dict[str, Tensor]]:
    """What AdaLoRA's allocator remembers and peft does not save: importance averages, and the rank pattern as masks."""
    config = model.peft_config[ADAPTER_NAME]
    pattern = {_with_name(name): torch.tensor(kept) for name, kept in (config.rank_pattern or {}).items()}
    return {name: dict(averages) for name, averages in _averages(model).items()} | {"rank_pattern": pattern}


def load_allocator_state(model: PeftModel, state: dict[str, dict[str, Tensor]]) -> None:
    """Puts back what `allocator_state` gave."""
    allocator, config = model.base_model.rankallocator, model.peft_config[ADAPTER_NAME]
    for name in _AVERAGES:
        setattr(allocator, name, dict(state[name]))
    config.rank_pattern = {name: kept.tolist() for name, kept in state["rank_pattern"].items()} or None


def _averages(model: PeftModel) -> dict[str, dict[str, Tensor]]:
    """Importance of every adapter weight in the last step, its running average, and that of its uncertainty."""
    return {name: getattr(model.base_model.rankallocator, name) for name in _AVERAGES}


def rank_pattern(model: PeftModel) -> dict[str, int] | None:
    """Rank of every adapted layer, or None where the adapter is not AdaLoRA or has not allocated yet."""
    pattern = getattr(model.peft_config[ADAPTER_NAME], "rank_pattern", None)
    if not pattern or not isinstance(next(iter(pattern.values())), list):
        return None
    return {name.split(".lora_E")[0]: sum(kept) for name, kept in pattern.items()}


def _with_name(name: str) -> str:
    """Saving an adapter makes peft strip the adapter's name from the pattern's keys, in the live model too."""
    return name if name.endswith(f".{ADAPTER_NAME}") else f"{name}.{ADAPTER_NAME}"
