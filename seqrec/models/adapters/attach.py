"""PEFT adapters around a backbone."""

from __future__ import annotations

import copy

from peft import PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from seqrec.errors import AdapterError
from seqrec.models.adapters.bottleneck import BottleneckModel
from seqrec.models.adapters.pissa import give_back_first_updates, keep_first_updates
from seqrec.models.adapters.settings import (
    AnyAdapterSettings,
    LayerNormSettings,
    LoraSettings,
    VirtualTokenSettings,
    linear_layers,
    targeted_layers,
)

ADAPTER_NAME = "default"
_VIRTUAL_STD = 0.02  # peft draws virtual tokens with 1, fifty times what item vectors and weights begin with


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
    if not isinstance(settings, LayerNormSettings | VirtualTokenSettings):
        _check_targets(base, settings.target_modules)
    trainable = {name for name, parameter in base.named_parameters() if parameter.requires_grad}
    if isinstance(settings, LayerNormSettings) and trainable:
        raise AdapterError(
            "it trains copies of normalisations, and the backbone's own are trained already",
            where="model.adapter.kind: layer_norm",
            do="set `model.backbone.trainable: false`, or leave the adapter out",
        )
    model = get_peft_model(base, settings.peft_config(base, total_steps), adapter_name=ADAPTER_NAME)
    if isinstance(settings, LoraSettings) and settings.initialization == "pissa":
        keep_first_updates(model, ADAPTER_NAME)
    for name, parameter in base.named_parameters():  # peft freezes all; a recipe may train backbone and adapter
        if name.replace(".base_layer", "") in trainable:
            parameter.requires_grad_(True)
    if virtual_tokens(model):
        forget_words(model)
        nn.init.normal_(model.prompt_encoder[ADAPTER_NAME].embedding.weight, std=_VIRTUAL_STD)
    return model


def virtual_tokens(model: nn.Module) -> int:
    """Positions that an adapter puts before those of a sequence; 0 where it, or there, is none."""
    config = model.peft_config[ADAPTER_NAME] if isinstance(model, PeftModel) else None
    return config.num_virtual_tokens if config is not None and config.is_prompt_learning else 0


def forget_words(model: PeftModel) -> None:
    """Drops the second name that peft gives the word embeddings, which a checkpoint would hold twice."""
    model.word_embeddings = None


def without_adapter(model: PeftModel) -> PreTrainedModel:
    """A copy of the base model as it is under the adapter, with its own layers back in place."""
    if virtual_tokens(model):  # they are around the model, and not in it
        return copy.deepcopy(model.get_base_model())
    copied = copy.deepcopy(model)
    give_back_first_updates(copied, ADAPTER_NAME)
    base: PreTrainedModel = copied.unload()
    return base


def why_not_merged(model: PeftModel) -> str | None:
    """Why the adapter cannot become part of the weights of the backbone's layers; None where it can."""
    if virtual_tokens(model):
        return "virtual tokens stand before a sequence, and are no part of any layer's weights"
    if isinstance(model.base_model, BottleneckModel):
        return "a bottleneck is no linear map, and so no part of any layer's weights"
    return None


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
    missing = [name for name in targets if not targeted_layers(base, [name])]
    if missing:
        endings = sorted({".".join(name.split(".")[-2:]) for name in linear})
        raise AdapterError(
            f"the backbone has no linear layers named {', '.join(f'`{name}`' for name in missing)}",
            where="model.adapter.target_modules",
            has=", ".join(f"`{name}`" for name in endings),
            do="name some of these, or leave it out for the default",
        )
