"""What sequence models of our own share: a Hugging Face config and model, so that all that works for theirs does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from seqrec.event_columns import ColumnName
from seqrec.settings import Settings


class ComputationSettings(Settings):
    """How a backbone is computed, whatever its weights."""

    activation_checkpointing: bool = Field(
        default=False,
        description="Keep only the inputs of each block, and compute the rest once more in the backward pass.",
    )
    compile: bool = Field(default=False, description="Compile each block with torch.compile.")


class NetworkSettings(ComputationSettings):
    """What every architecture of our own can be told."""

    layers: int = Field(default=2, ge=1, description="Blocks.")
    width: int = Field(default=64, ge=1, description="Hidden size H.")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="Dropout of inputs and in each block.")
    trainable: bool = Field(default=True, description="Whether the backbone's own weights are trained.")

    @property
    def columns(self) -> dict[ColumnName, str]:
        """What it reads of events beside their items, each with the recipe field that asks for it."""
        return {}


class NetworkConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes that every architecture of our own has; saved with its weights."""

    hidden_size: int = 64
    num_hidden_layers: int = 2
    max_position_embeddings: int = 50
    dropout: float = 0.0
    vocab_size: int = 1
    initializer_range: float = 0.02


class Network(PreTrainedModel, ABC):  # type: ignore[misc]
    """A causal sequence model over item vectors.

    Letters in shapes: B sequences, L positions, H width.

    Attributes:
        columns: what ``forward`` takes of events beside their items.
    """

    config_class: ClassVar[type[PretrainedConfig]] = NetworkConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True  # the name under which keyed dropout takes attention's place
    is_causal: ClassVar[bool] = True
    columns: tuple[ColumnName, ...] = ()

    def __init__(self, config: NetworkConfig):
        super().__init__(config)
        # what Hugging Face's models have, and item vectors make unused
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.input_dropout = nn.Dropout(config.dropout)

    def forward(self, inputs_embeds: Tensor, attention_mask: None = None, **columns: Any) -> BaseModelOutput:
        """Hidden states float (B, L, H) of right-padded sequences (B, L, H), whose padding no real position sees."""
        columns.pop("use_cache", None)
        return BaseModelOutput(last_hidden_state=self.hidden_states(self.input_dropout(inputs_embeds), **columns))

    @abstractmethod
    def hidden_states(self, vectors: Tensor, **columns: Tensor | None) -> Tensor:
        """What `forward` gives, of inputs after dropout."""


def register(config: type[NetworkConfig], network: type[Network]) -> None:
    """Makes `AutoModel` open what is saved of an architecture."""
    AutoConfig.register(config.model_type, config)
    AutoModel.register(config, network)
