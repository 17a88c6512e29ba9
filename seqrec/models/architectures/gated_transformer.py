"""A transformer whose residuals are gated, as in LiGR and eSASRec."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from seqrec.models.architectures.attention import AttentionSettings, split_heads
from seqrec.models.architectures.base import Network, NetworkConfig, register
from seqrec.models.architectures.positions import LearnedPositions, rotated


class GatedTransformerConfig(NetworkConfig):
    """Sizes of a gated transformer."""

    model_type = "seqrec_gated_transformer"
    num_attention_heads: int = 1
    intermediate_size: int = 256
    positions: str = "learned"


class GatedTransformerSettings(AttentionSettings):
    """Pre-norm transformer with SwiGLU and a gate on each residual.

    Sources: LiGR, Borisyuk et al. 2025, arXiv:2502.03417; eSASRec, Tikhonovich et al. 2025, arXiv:2508.06450.
    """

    kind: Literal["gated_transformer"]
    inner: int | None = Field(default=None, ge=1, description="Width of the feed-forward layer; null means 4 H.")

    def network_config(self, positions: int) -> PretrainedConfig:
        """For inputs of so many positions."""
        return GatedTransformerConfig(
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.inner or 4 * self.width,
            positions=self.positions,
            dropout=self.dropout,
            max_position_embeddings=positions,
        )


class GatedAttention(nn.Module):
    """Multi-head attention with softmax, on the past."""

    is_causal = True

    def __init__(self, config: GatedTransformerConfig):
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """float (B, L, H)."""
        q, k, v = (
            split_heads(map_(x), self.config.num_attention_heads) for map_ in (self.q_proj, self.k_proj, self.v_proj)
        )
        if self.config.positions == "rotary":
            q, k = rotated(q), rotated(k)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, sdpa_attention_forward)
        dropout = self.config.dropout if self.training else 0.0
        mixed, _ = attend(self, q, k, v, attention_mask=None, dropout=dropout)
        out: Tensor = self.o_proj(mixed.flatten(2))
        return out


class SwiGlu(nn.Module):
    """W3 (silu(W1 x) * W2 x), with dropout in front of W3. Source: Shazeer 2020, arXiv:2002.05202."""

    def __init__(self, config: GatedTransformerConfig):
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.gate_proj, self.up_proj = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(inner, width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """float (B, L, H)."""
        out: Tensor = self.down_proj(self.dropout(F.silu(self.gate_proj(x)) * self.up_proj(x)))
        return out


class GatedBlock(GradientCheckpointingLayer):  # type: ignore[misc]
    """x + sigmoid(W x) * f(norm(x)), for f attention and then feed-forward."""

    def __init__(self, config: GatedTransformerConfig):
        super().__init__()
        width = config.hidden_size
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.mlp = GatedAttention(config), SwiGlu(config)
        self.attention_gate, self.mlp_gate = nn.Linear(width, width), nn.Linear(width, width)
        self.attention_dropout, self.mlp_dropout = nn.Dropout(config.dropout), nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """float (B, L, H)."""
        x = x + self.attention_gate(x).sigmoid() * self.attention_dropout(self.attention(self.attention_norm(x)))
        out: Tensor = x + self.mlp_gate(x).sigmoid() * self.mlp_dropout(self.mlp(self.mlp_norm(x)))
        return out


class GatedTransformer(Network):
    """A stack of `GatedBlock`s and a last norm."""

    config_class: ClassVar[type[PretrainedConfig]] = GatedTransformerConfig
    config: GatedTransformerConfig
    _no_split_modules: ClassVar[list[str]] = ["GatedBlock"]

    def __init__(self, config: GatedTransformerConfig):
        super().__init__(config)
        learned = config.positions == "learned"
        self.positions = LearnedPositions(config.max_position_embeddings, config.hidden_size) if learned else None
        self.layers = nn.ModuleList(GatedBlock(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.post_init()

    def hidden_states(self, vectors: Tensor, **columns: Tensor | None) -> Tensor:
        """As `Network` says."""
        if self.positions is not None:
            vectors = self.positions(vectors)
        for layer in self.layers:
            vectors = layer(vectors)
        out: Tensor = self.norm(vectors)
        return out


register(GatedTransformerConfig, GatedTransformer)
