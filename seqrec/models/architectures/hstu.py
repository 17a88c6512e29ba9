"""HSTU: attention without a softmax, gated by the position itself. Source: Zhai et al. 2024, arXiv:2402.17152."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from seqrec.event_columns import ColumnName
from seqrec.models.architectures.attention import AttentionSettings, split_heads
from seqrec.models.architectures.base import Network, NetworkConfig, register
from seqrec.models.architectures.positions import LearnedPositions, rotated
from seqrec.models.events import log2_buckets


class HstuConfig(NetworkConfig):
    """Sizes of an HSTU."""

    model_type = "seqrec_hstu"
    num_attention_heads: int = 1
    positions: str = "learned"
    time_buckets: int | None = None


class HstuSettings(AttentionSettings):
    """HSTU: pointwise gated attention with a bias by distance and, where asked for, by time.

    Source: Zhai et al. 2024, arXiv:2402.17152.
    """

    kind: Literal["hstu"]
    time_bias: int | None = Field(
        default=None,
        ge=2,
        le=40,
        description="Buckets of the time between two events, each of which adds a bias to their attention; as "
        "`model.events.time_gaps` has them. null: no times are read.",
    )

    @property
    def columns(self) -> dict[ColumnName, str]:
        """As `NetworkSettings` says."""
        return {} if self.time_bias is None else {"timestamps": "model.backbone.time_bias"}

    def network_config(self, positions: int) -> PretrainedConfig:
        """For inputs of so many positions."""
        return HstuConfig(
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            positions=self.positions,
            time_buckets=self.time_bias,
            dropout=self.dropout,
            max_position_embeddings=positions,
        )


class HstuBlock(GradientCheckpointingLayer):  # type: ignore[misc]
    """x + W (u * norm(attention)), where u, values, queries and keys are all silu of one map of norm(x)."""

    def __init__(self, config: HstuConfig):
        super().__init__()
        width = config.hidden_size
        self.config = config
        self.norm, self.attention_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.uvqk_proj = nn.Linear(width, 4 * width, bias=False)
        self.out_proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(config.dropout)
        self.distance_bias = nn.Embedding(config.max_position_embeddings, 1)
        self.time_bias = nn.Embedding(config.time_buckets, 1) if config.time_buckets else None

    def forward(self, x: Tensor, gaps: Tensor | None) -> Tensor:
        """float (B, L, H).

        Args:
            x: float (B, L, H).
            gaps: int64 (B, L, L), bucket of the time from an event (last axis) to another; None without times.
        """
        u, v, q, k = F.silu(self.uvqk_proj(self.norm(x))).chunk(4, dim=-1)
        q, k, v = (split_heads(each, self.config.num_attention_heads) for each in (q, k, v))
        if self.config.positions == "rotary":
            q, k = rotated(q), rotated(k)
        scores = q @ k.transpose(2, 3) + self._bias(x.shape[1], gaps)
        # by the longest input there can be, not by the batch's, so that a row does not depend on its batch
        weights = (F.silu(scores) / self.config.max_position_embeddings).tril()
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        out: Tensor = x + self.out_proj(self.dropout(u * self.attention_norm(mixed)))
        return out

    def _bias(self, length: int, gaps: Tensor | None) -> Tensor:
        """float (1 or B, 1, L, L), the same for all heads."""
        position = torch.arange(length, device=self.distance_bias.weight.device)
        distance = (position.unsqueeze(1) - position).clamp(min=0)
        bias: Tensor = self.distance_bias(distance).squeeze(-1).unsqueeze(0)
        if self.time_bias is not None and gaps is not None:
            bias = bias + self.time_bias(gaps).squeeze(-1)
        return bias.unsqueeze(1)


class Hstu(Network):
    """A stack of `HstuBlock`s and a last norm, as scores are products and not cosines as in the source."""

    config_class: ClassVar[type[PretrainedConfig]] = HstuConfig
    config: HstuConfig
    _no_split_modules: ClassVar[list[str]] = ["HstuBlock"]

    def __init__(self, config: HstuConfig):
        super().__init__(config)
        self.columns = ("timestamps",) if config.time_buckets else ()
        learned = config.positions == "learned"
        self.positions = LearnedPositions(config.max_position_embeddings, config.hidden_size) if learned else None
        self.layers = nn.ModuleList(HstuBlock(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.post_init()

    def hidden_states(self, vectors: Tensor, timestamps: Tensor | None = None, **columns: Tensor | None) -> Tensor:
        """As `Network` says; without times there is no bias by them."""
        if self.positions is not None:
            vectors = self.positions(vectors)
        gaps = None
        if timestamps is not None and self.config.time_buckets is not None:
            gaps = log2_buckets(timestamps.unsqueeze(2) - timestamps.unsqueeze(1), self.config.time_buckets)
        for layer in self.layers:
            vectors = layer(vectors, gaps)
        out: Tensor = self.norm(vectors)
        return out


register(HstuConfig, Hstu)
