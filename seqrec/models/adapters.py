"""PEFT adapters around a backbone."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from peft import AdaLoraConfig, LoraConfig, PeftModel, get_peft_model
from pydantic import Field, model_validator
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from seqrec.errors import AdapterError, RecipeError
from seqrec.settings import Settings

ADAPTER_NAME = "default"
_AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")


class LoraSettings(Settings):
    """Low-rank adaptation: W + (alpha / rank) B A. Source: Hu et al. 2021, arXiv:2106.09685."""

    kind: Literal["lora"]
    rank: int = Field(default=8, ge=1, description="Rank of the update.")
    alpha: float = Field(default=16.0, gt=0, description="Scale; the update is multiplied by alpha / rank.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    target_modules: list[str] | Literal["all-linear"] = Field(
        default="all-linear", description="Names of the linear layers to adapt (the last parts of their paths)."
    )


class AdaLoraSettings(Settings):
    """LoRA whose rank budget moves between layers while training. Source: Zhang et al. 2023, arXiv:2303.10512."""

    kind: Literal["adalora"]
    initial_rank: int = Field(default=12, ge=2, description="Rank of each layer before allocation.")
    target_rank: int = Field(default=8, ge=1, description="Mean rank of a layer afterwards; below `initial_rank`.")
    alpha: float = Field(default=16.0, gt=0, description="Scale; the update is multiplied by alpha / initial_rank.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="Share of all steps before the budget begins to fall.")
    final: float = Field(default=0.3, gt=0, lt=1, description="Share of all steps, the last ones, that keep the ranks.")
    interval: int = Field(default=10, ge=1, description="Steps between two allocations while the budget falls.")
    orthogonality: float = Field(default=0.5, ge=0, description="Weight of the penalty that keeps A and B orthogonal.")
    target_modules: list[str] | Literal["all-linear"] = Field(
        default="all-linear", description="Names of the linear layers to adapt (the last parts of their paths)."
    )

    @model_validator(mode="after")
    def _check(self) -> AdaLoraSettings:
        if self.target_rank >= self.initial_rank:  # peft would die at its first allocation, in kthvalue
            raise ValueError(f"target_rank {self.target_rank} must be below initial_rank {self.initial_rank}")
        if self.warmup + self.final >= 1:
            raise ValueError(f"warmup {self.warmup} + final {self.final} leave no steps for allocation")
        return self


AdapterSettings = Annotated[LoraSettings | AdaLoraSettings, Field(discriminator="kind")]


def attach(base: PreTrainedModel, settings: LoraSettings | AdaLoraSettings, *, total_steps: int) -> PeftModel:
    """Puts a fresh adapter around a backbone, in place.

    Args:
        base: the backbone; its layers are replaced by adapted ones.
        settings: which adapter.
        total_steps: optimizer steps of the whole training, which AdaLoRA's schedule spans.
    Raises:
        AdapterError: target modules that the backbone does not have.
        RecipeError: AdaLoRA with too few steps for its schedule.
    """
    _check_targets(base, settings.target_modules)
    trainable = {name for name, parameter in base.named_parameters() if parameter.requires_grad}
    config = _peft_config(settings, total_steps)
    # GPT-2's Conv1D keeps its weights as (in, out); peft would find out too, with a warning
    config.fan_in_fan_out = any(isinstance(module, Conv1D) for module in base.modules())
    model = get_peft_model(base, config, adapter_name=ADAPTER_NAME)
    for name, parameter in base.named_parameters():  # peft freezes all; a recipe may train backbone and adapter
        if name.replace(".base_layer", "") in trainable:
            parameter.requires_grad_(True)
    return model


def _peft_config(settings: LoraSettings | AdaLoraSettings, total_steps: int) -> LoraConfig:
    targets = settings.target_modules
    if isinstance(settings, LoraSettings):
        return LoraConfig(
            r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=targets
        )
    warmup, final = int(settings.warmup * total_steps), max(1, int(settings.final * total_steps))
    if total_steps - warmup - final < settings.interval:
        raise RecipeError(
            f"{total_steps} steps leave {max(0, total_steps - warmup - final)} for AdaLoRA to allocate ranks in, "
            f"fewer than its interval of {settings.interval}",
            where="model.adapter",
            do="train longer, or lower `interval`, `warmup` or `final`",
        )
    return AdaLoraConfig(
        init_r=settings.initial_rank,
        target_r=settings.target_rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        tinit=warmup,
        tfinal=final,
        deltaT=settings.interval,
        orth_reg_weight=settings.orthogonality,
        total_step=total_steps,
    )


def _check_targets(base: nn.Module, targets: list[str] | str) -> None:
    linear = [name for name, module in base.named_modules() if isinstance(module, nn.Linear | Conv1D)]
    if not linear:
        raise AdapterError(
            f"`{base.config.model_type}` has no linear layers for an adapter to go around",  # type: ignore[union-attr]
            where="model.adapter",
            do="set it to null, or take a transformer as `model.backbone`",
        )
    if isinstance(targets, str):
        return
    missing = [t for t in targets if not any(name == t or name.endswith(f".{t}") for name in linear)]
    if missing:
        endings = sorted({".".join(name.split(".")[-2:]) for name in linear})
        raise AdapterError(
            f"the backbone has no linear layers named {', '.join(f'`{name}`' for name in missing)}",
            where="model.adapter.target_modules",
            has=", ".join(f"`{name}`" for name in endings),
            do="name some of these, or `all-linear`",
        )


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
