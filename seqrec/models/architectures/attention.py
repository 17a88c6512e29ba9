"""What architectures with attention share."""

from __future__ import annotations

from pydantic import Field, model_validator
from torch import Tensor

from seqrec.models.architectures.base import NetworkSettings
from seqrec.models.architectures.positions import Positions


class AttentionSettings(NetworkSettings):
    """What every architecture of our own with attention can be told."""

    heads: int = Field(default=1, ge=1, description="Attention heads; divides the width.")
    positions: Positions = Field(
        default="learned",
        description="learned: a trained vector a position; rotary: queries and keys are turned by their positions; "
        "none: the order is known from the causal mask alone, and what else the architecture has.",
    )

    @model_validator(mode="after")
    def _check_heads(self) -> AttentionSettings:
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide the width of {self.width}")
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise ValueError(f"rotary positions need heads of even width, not of {self.width // self.heads}")
        return self


def split_heads(x: Tensor, heads: int) -> Tensor:
    """float (B, L, H) to (B, heads, L, H / heads)."""
    return x.view(*x.shape[:-1], heads, -1).transpose(1, 2)
