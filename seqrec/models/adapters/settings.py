"""The `model.adapter` section of a recipe."""

from __future__ import annotations

from inspect import signature
from typing import Annotated, Literal

from peft import (
    AdaLoraConfig,
    IA3Config,
    LNTuningConfig,
    LoraConfig,
    OFTConfig,
    PeftConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    TaskType,
    VeraConfig,
)
from pydantic import Field, model_validator
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from seqrec.errors import AdapterError, RecipeError
from seqrec.models.adapters.bottleneck import BottleneckConfig
from seqrec.models.architectures import Network
from seqrec.settings import Settings

_LAST_OF_PARTS = (".c_proj", "output.dense", ".o_proj", ".down_proj", ".out_proj")


LinearLayers = Annotated[
    list[str] | Literal["all-linear"],
    Field(description="Names of the linear layers to adapt (the last parts of their paths)."),
]


class LoraSettings(Settings):
    """Low-rank adaptation: W + (alpha / rank) B A. Source: Hu et al. 2021, arXiv:2106.09685."""

    kind: Literal["lora"]
    rank: int = Field(default=8, ge=1, description="Rank of the update.")
    alpha: float = Field(default=16.0, gt=0, description="Scale; the update is multiplied by alpha / rank.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    rank_stabilized: bool = Field(
        default=False,
        description="Multiply the update by alpha / sqrt(rank), so that larger ranks learn as fast. Source: "
        "Kalajdzievski 2023, arXiv:2312.03732.",
    )
    dora: bool = Field(
        default=False,
        description="Learn the length of each output's weights apart from their direction, which the update turns. "
        "Source: Liu et al. 2024, arXiv:2402.09353.",
    )
    initialization: Literal["random", "pissa"] = Field(
        default="random",
        description="What the update begins with: `random`, nothing, as B is zero; `pissa`, the largest singular "
        "values and vectors of the weights, of which the rest is frozen. Source: Meng et al. 2024, arXiv:2404.02948.",
    )
    target_modules: LinearLayers = "all-linear"

    @model_validator(mode="after")
    def _check(self) -> LoraSettings:
        if self.dora and self.initialization == "pissa":
            raise ValueError("`dora` takes lengths of whole weights, and `initialization: pissa` takes a part of them")
        return self

    def peft_config(self, base: nn.Module, total_steps: int) -> PeftConfig:
        """PEFT's config of it; arguments as of `attach`.

        Raises:
            AdapterError: a layer has fewer singular values than `pissa` is to begin with.
        """
        if self.initialization == "pissa":
            side = min(min(layer.weight.shape) for layer in targeted_layers(base, self.target_modules))
            if self.rank > side:
                raise AdapterError(
                    f"a layer of which one side is {side} has no {self.rank} singular values to begin with",
                    where="model.adapter.rank",
                    do=f"set it to {side} or less, or `initialization: random`",
                )
        return LoraConfig(
            r=self.rank,
            init_lora_weights="pissa" if self.initialization == "pissa" else True,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            use_rslora=self.rank_stabilized,
            use_dora=self.dora,
            target_modules=self.target_modules,
            fan_in_fan_out=_fan_in_fan_out(base),
        )


class VeraSettings(Settings):
    """Two factors a layer, around random matrices that all layers share.

    They are made again from their seed wherever the adapter is opened, and are in no checkpoint and no export.
    Source: Kopiczko et al. 2023, arXiv:2310.11454.
    """

    kind: Literal["vera"]
    rank: int = Field(default=256, ge=1, description="Rank of the shared matrices.")
    initial_scale: float = Field(default=0.1, gt=0, description="Factors of the inner values at the start.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    target_modules: LinearLayers = "all-linear"

    def peft_config(self, base: nn.Module, total_steps: int) -> PeftConfig:
        """PEFT's config of it; arguments as of `attach`."""
        return VeraConfig(
            r=self.rank,
            d_initial=self.initial_scale,
            vera_dropout=self.dropout,
            save_projection=False,
            target_modules=self.target_modules,
            fan_in_fan_out=_fan_in_fan_out(base),
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
    target_modules: LinearLayers = "all-linear"

    @model_validator(mode="after")
    def _check(self) -> AdaLoraSettings:
        if self.target_rank >= self.initial_rank:  # peft would die at its first allocation, in kthvalue
            raise ValueError(f"target_rank {self.target_rank} must be below initial_rank {self.initial_rank}")
        if self.warmup + self.final >= 1:
            raise ValueError(f"warmup {self.warmup} + final {self.final} leave no steps for allocation")
        return self

    def peft_config(self, base: nn.Module, total_steps: int) -> PeftConfig:
        """PEFT's config of it; arguments as of `attach`.

        Raises:
            RecipeError: too few steps for its schedule.
        """
        warmup, final = int(self.warmup * total_steps), max(1, int(self.final * total_steps))
        if total_steps - warmup - final < self.interval:
            raise RecipeError(
                f"{total_steps} steps leave {max(0, total_steps - warmup - final)} for AdaLoRA to allocate ranks in, "
                f"fewer than its interval of {self.interval}",
                where="model.adapter",
                do="train longer, or lower `interval`, `warmup` or `final`",
            )
        return AdaLoraConfig(
            init_r=self.initial_rank,
            target_r=self.target_rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=self.target_modules,
            tinit=warmup,
            tfinal=final,
            deltaT=self.interval,
            orth_reg_weight=self.orthogonality,
            total_step=total_steps,
            fan_in_fan_out=_fan_in_fan_out(base),
        )


class Ia3Settings(Settings):
    """A factor for each output of the layers, and nothing else. Source: (IA)³, Liu et al. 2022, arXiv:2205.05638.

    There keys, values and the feed-forward layer's inner activations have one; here all linear layers, unless some are
    named.
    """

    kind: Literal["ia3"]
    target_modules: LinearLayers = "all-linear"

    def peft_config(self, base: nn.Module, total_steps: int) -> PeftConfig:
        """PEFT's config of it; arguments as of `attach`."""
        return IA3Config(
            target_modules=self.target_modules, feedforward_modules=[], fan_in_fan_out=_fan_in_fan_out(base)
        )


class OftSettings(Settings):
    """A rotation of each layer's inputs, block by block. Source: OFT, Qiu et al. 2023, arXiv:2306.07280."""

    kind: Literal["oft"]
    block_size: int = Field(default=16, ge=2, description="Inputs turned among themselves; divides those of a layer.")
    target_modules: LinearLayers = "all-linear"

    def peft_config(self, base: nn.Module, total_steps: int) -> PeftConfig:
        """PEFT's config of it; arguments as of `attach`.

        Raises:
            AdapterError: the backbone is GPT-2, whose layers PEFT does not rotate, or blocks do not divide its inputs.
        """
        if _fan_in_fan_out(base):
            raise AdapterError(
                "PEFT rotates `torch.nn.Linear` only, and GPT-2 keeps its weights in `Conv1D`",
                where="model.adapter.kind",
                do="take `lora`, or another backbone, as `llama`",
            )
        widths = sorted({layer.weight.shape[1] for layer in targeted_layers(base, self.target_modules)})
        if uneven := [width for width in widths if width % self.block_size]:
            raise AdapterError(
                f"blocks of {self.block_size} do not divide the {uneven[0]} inputs of a layer",
                where="model.adapter.block_size",
                do="take a number that divides " + " and ".join(map(str, widths)),
            )
        return OFTConfig(r=0, oft_block_size=self.block_size, target_modules=self.target_modules)


class LayerNormSettings(Settings):
    """The backbone's normalisations alone are trained. Source: Zhao et al. 2023, arXiv:2312.11420."""

    kind: Literal["layer_norm"]

    def peft_config(self, base: nn.Module, total_steps: int) -> PeftConfig:
        """PEFT's config of it; arguments as of `attach`.

        Raises:
            AdapterError: the backbone has none.
        """
        norms = [name for name, module in base.named_modules() if type(module).__name__.endswith("Norm")]
        if not norms:
            raise AdapterError(
                "the backbone has no normalisations",
                where="model.adapter.kind: layer_norm",
                do="set it to null, or take a transformer as `model.backbone`",
            )
        return LNTuningConfig(target_modules=norms)


class BottleneckSettings(Settings):
    """Two small layers behind attention and the feed-forward part of each block.

    Source: Houlsby et al. 2019, arXiv:1902.00751.
    """

    kind: Literal["bottleneck"]
    size: int = Field(default=64, ge=1, description="Units of the bottleneck.")
    target_modules: list[str] | None = Field(
        default=None,
        description="Names of the linear layers behind which they stand (the last parts of their paths); null: the "
        "last ones of attention and feed-forward, by the names that known backbones give them.",
    )

    def peft_config(self, base: nn.Module, total_steps: int) -> PeftConfig:
        """PEFT's config of it; arguments as of `attach`.

        Raises:
            AdapterError: the backbone has no layers of names that are known.
        """
        targets = self.target_modules or [
            name for name, module in linear_layers(base).items() if name.endswith(_LAST_OF_PARTS)
        ]
        if not targets:
            raise AdapterError(
                "the backbone names none of its layers as known ones name the last of attention or feed-forward",
                where="model.adapter.target_modules",
                do="name those layers",
            )
        return BottleneckConfig(size=self.size, target_modules=targets)


class PrefixSettings(Settings):
    """Learned keys and values, which attention of each block sees before those of the sequence.

    Source: Li & Liang 2021, arXiv:2101.00190, without the network that makes them there.
    """

    kind: Literal["prefix"]
    tokens: int = Field(default=8, ge=1, description="Virtual positions; they count among the backbone's own.")

    def peft_config(self, base: PreTrainedModel, total_steps: int) -> PeftConfig:
        """PEFT's config of it; arguments as of `attach`.

        Raises:
            AdapterError: the backbone takes no keys and values, or computes its blocks twice.
        """
        if "cache" not in signature(base.forward).parameters:
            raise AdapterError(
                f"`{base.config.model_type}` takes no keys and values from outside",
                where="model.adapter.kind: prefix",
                do="take `prompt` or `lora`, or `gpt2`, `bert` or `llama` as `model.backbone`",
            )
        if base.is_activation_checkpointing:
            raise AdapterError(
                "a block that is computed again in the backward pass would get its keys and values twice",
                where="model.backbone.activation_checkpointing",
                do="set it to false, or take another adapter than `prefix`",
            )
        return PrefixTuningConfig(task_type=TaskType.FEATURE_EXTRACTION, num_virtual_tokens=self.tokens)


class PromptSettings(Settings):
    """Learned vectors before those of the sequence. Source: Lester et al. 2021, arXiv:2104.08691."""

    kind: Literal["prompt"]
    tokens: int = Field(default=8, ge=1, description="Virtual positions; they count among the backbone's own.")

    def peft_config(self, base: PreTrainedModel, total_steps: int) -> PeftConfig:
        """PEFT's config of it; arguments as of `attach`.

        Raises:
            AdapterError: the backbone reads more of an event than its vector.
        """
        if isinstance(base, Network) and base.columns:
            raise AdapterError(
                f"the backbone reads {' and '.join(base.columns)} of events, which a virtual position has not",
                where="model.adapter.kind: prompt",
                do="take `lora`, or another backbone",
            )
        return PromptTuningConfig(
            task_type=TaskType.FEATURE_EXTRACTION,
            num_virtual_tokens=self.tokens,
            num_attention_heads=1,  # no part of a prompt, and peft asks for it where a recurrent backbone has none
        )


VirtualTokenSettings = PrefixSettings | PromptSettings
AnyAdapterSettings = (
    LoraSettings
    | VeraSettings
    | AdaLoraSettings
    | Ia3Settings
    | OftSettings
    | LayerNormSettings
    | BottleneckSettings
    | VirtualTokenSettings
)
AdapterSettings = Annotated[AnyAdapterSettings, Field(discriminator="kind")]


def linear_layers(base: nn.Module) -> dict[str, nn.Linear | Conv1D]:
    """The layers that adapters go around, by path."""
    return {name: module for name, module in base.named_modules() if isinstance(module, nn.Linear | Conv1D)}


def targeted_layers(base: nn.Module, target_modules: list[str] | Literal["all-linear"]) -> list[nn.Linear | Conv1D]:
    """The layers that a setting names, by the last parts of their paths."""
    layers = linear_layers(base)
    if target_modules == "all-linear":
        return list(layers.values())
    return [layer for path, layer in layers.items() if any(f".{path}".endswith(f".{name}") for name in target_modules)]


def _fan_in_fan_out(base: nn.Module) -> bool:
    """Whether weights lie as (in, out), as those of GPT-2's Conv1D do; peft would find out too, with a warning."""
    return any(isinstance(module, Conv1D) for module in base.modules())
