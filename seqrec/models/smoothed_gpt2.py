"""GPT-2 whose attention shares its place with averages of what came before, whatever it was."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, GPT2Config, GPT2Model
from transformers import initialization as init

from seqrec.errors import RecipeError

_SLOWEST, _FASTEST = 0.1, 2.0  # decays a position that groups start with, evenly between in logarithms
_FIRST_BETA = 0.5


class SmoothedGpt2Config(GPT2Config):  # type: ignore[misc]
    """GPT-2's config with the share of the averages.

    Args:
        smoothing_share: of a block's mixing that averages make, 0..1; attention makes the rest.
        smoothing_groups: groups of channels with a decay each; divides the width.
    """

    model_type = "smoothed_gpt2"

    smoothing_share: float = 0.3
    smoothing_groups: int = 8


class CausalAverages(nn.Module):
    """Weighted means of each position and those before it, with weights that fall exponentially with the distance.

    Each group of channels has a decay of its own, which is trained. What the mean leaves out of a position's own
    vector, its high frequencies, is passed on by a trained factor a channel:

        mean_t = Σ_{s ≤ t} exp(-decay (t - s)) x_s / Σ_{s ≤ t} exp(-decay (t - s)),   y = mean + β² (x - mean)

    Args:
        width: channels C.
        groups: G, divides C.

    Source: the frequency layer of BSARec, Shin et al. 2024, arXiv:2312.10325, whose low-pass filter is a Fourier
    transform over the whole sequence; this one sees no later position.
    """

    def __init__(self, width: int, groups: int):
        super().__init__()
        self.log_decay = nn.Parameter(_first_decays(groups))
        self.beta = nn.Parameter(torch.full((width,), _FIRST_BETA))

    def forward(self, x: Tensor) -> Tensor:
        """Smoothed vectors: float (B, L, C) from float (B, L, C)."""
        position = torch.arange(x.shape[1], device=x.device)
        distance = position.unsqueeze(1) - position  # (L, L), of a row to a column
        logits = -self.log_decay.exp().view(-1, 1, 1) * distance
        weights = logits.masked_fill(distance < 0, -math.inf).softmax(-1).to(x.dtype)  # (G, L, L)
        groups = x.view(*x.shape[:-1], len(weights), -1)
        mean = torch.einsum("gts,bsgc->btgc", weights, groups).flatten(-2)
        return mean + self.beta.square() * (x - mean)


class SmoothedAttention(nn.Module):
    """(1 - share) attention + share averages, in the place of GPT-2's attention.

    Args:
        attention: what it shares the place with.
        config: for the sizes and dropout.
    """

    def __init__(self, attention: nn.Module, config: SmoothedGpt2Config):
        super().__init__()
        self.attention = attention
        self.averages = CausalAverages(config.hidden_size, config.smoothing_groups)
        self.dropout = nn.Dropout(config.resid_pdrop)
        self.share = config.smoothing_share

    def forward(self, hidden: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        """As `GPT2Attention.forward`."""
        attended, weights = self.attention(hidden, **options)
        return (1 - self.share) * attended + self.share * self.dropout(self.averages(hidden)), weights


class SmoothedGpt2Model(GPT2Model):  # type: ignore[misc]
    """GPT-2 over item vectors, for short histories and little data.

    Next items of short histories depend on which items came before more than on what exactly follows what, and
    attention must learn that from few examples; averages know it.
    """

    config_class = SmoothedGpt2Config

    def __init__(self, config: SmoothedGpt2Config):
        if config.hidden_size % config.smoothing_groups:
            raise RecipeError(
                f"{config.smoothing_groups} groups do not divide the width of {config.hidden_size}",
                where="model.backbone.config",
                do="change `smoothing_groups` there, or `model.backbone.width`",
            )
        super().__init__(config)
        for block in self.h:
            block.attn = SmoothedAttention(block.attn, config)

    @classmethod
    def _can_set_attn_implementation(cls) -> bool:
        """Transformers looks for the choice in the class's own file; it is in GPT-2's."""
        return True

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, CausalAverages):
            init.copy_(module.log_decay, _first_decays(len(module.log_decay)))
            init.constant_(module.beta, _FIRST_BETA)


def _first_decays(groups: int) -> Tensor:
    return torch.linspace(math.log(_SLOWEST), math.log(_FASTEST), groups)


AutoConfig.register(SmoothedGpt2Config.model_type, SmoothedGpt2Config)
AutoModel.register(SmoothedGpt2Config, SmoothedGpt2Model)
