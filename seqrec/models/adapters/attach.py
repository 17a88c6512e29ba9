"""PEFT adapters around a backbone."""

from __future__ import annotations

from peft import PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from seqrec.errors import AdapterError
from seqrec.models.adapters.bottleneck import BottleneckModel
from seqrec.models.adapters.settings import AnyAdapterSettings, LayerNormSettings, linear_layers

ADAPTER_NAME = "default"


def attach(base: PreTrainedModel, settings: AnyAdapterSettings, *, total_steps: int) -> PeftModel:
    """Puts a fresh adapter around a backbone, in place.

    Args:
        base: the backbone; its layers are replaced by adapted ones.
        settings: which adapter.
        total_steps: optimizer steps of the whole training, which AdaLoRA's schedule spans.
    Raises:
        AdapterError: layers that the backbone does not have, or that the adapter does not fit; normalisations that are
            trained twice.
        RecipeError: AdaLoRA with too few steps for its schedule.
    """
    if not isinstance(settings, LayerNormSettings):
        _check_targets(base, settings.target_modules)
    trainable = {name for name, parameter in base.named_parameters() if parameter.requires_grad}
    if isinstance(settings, LayerNormSettings) and trainable:
        raise AdapterError(
            "it trains copies of normalisations, and the backbone's own are trained already",
            where="model.adapter.kind: layer_norm",
            do="set `model.backbone.trainable: false`, or leave the adapter out",
        )
    model = get_peft_model(base, settings.peft_config(base, total_steps), adapter_name=ADAPTER_NAME)
    for name, parameter in base.named_parameters():  # peft freezes all; a recipe may train backbone and adapter
        if name.replace(".base_layer", "") in trainable:
            parameter.requires_grad_(True)
    return model


def can_merge(model: PeftModel) -> bool:
    """Whether the adapter can become part of the weights of the layers that it is around."""
    return not isinstance(model.base_model, BottleneckModel)


def _check_targets(base: nn.Module, targets: list[str] | str | None) -> None:
    linear = linear_layers(base)
    if not linear:
        raise AdapterError(
            f"`{base.config.model_type}` has no linear layers for an adapter to go around",  # type: ignore[union-attr]
            where="model.adapter",
            do="set it to null, or take a transformer as `model.backbone`",
        )
    if targets is None or isinstance(targets, str):
        return
    missing = [t for t in targets if not any(name == t or name.endswith(f".{t}") for name in linear)]
    if missing:
        endings = sorted({".".join(name.split(".")[-2:]) for name in linear})
        raise AdapterError(
            f"the backbone has no linear layers named {', '.join(f'`{name}`' for name in missing)}",
            where="model.adapter.target_modules",
            has=", ".join(f"`{name}`" for name in endings),
            do="name some of these, or leave it out for the default",
        )
