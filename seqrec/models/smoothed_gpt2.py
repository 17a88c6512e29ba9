"""GPT-2 whose attention shares its place with averages of what came before, whatever it was."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, Cache, DynamicLayer, GPT2Config, GPT2Model
from transformers import initialization as init
from transformers.models.gpt2.modeling_gpt2 import GPT2Attention

from seqrec.errors import RecipeError

_SLOWEST, _FASTEST = 0.1, 2.0  # decays an event that groups start with, evenly between in logarithms
_FIRST_BETA = 0.5


class SmoothedGpt2Config(GPT2Config):  # type: ignore[misc]
    """GPT-2's config with the share of the averages.

    Args:
        smoothing_share: of a block's mixing that averages make, 0..1; attention makes the rest.
        smoothing_groups: groups of channels with a decay each; divides the width.
        smoothing_positions: that an event takes, as the codes of a semantic id do. The first decays are of events.
    """

    model_type = "smoothed_gpt2"

    smoothing_share: float = 0.3
    smoothing_groups: int = 8
    smoothing_positions: int = 1


class CausalAverages(nn.Module):
    """Weighted means of each position and those before it, with weights that fall exponentially with the distance.

    Each group of channels has a decay of its own, which is trained. What the mean leaves out of a position's own
    vector, its high frequencies, is passed on by a trained factor a channel:

        mean_t = Σ_{s ≤ t} exp(-decay (t - s)) x_s / Σ_{s ≤ t} exp(-decay (t - s)),   y = mean + β² (x - mean)

    Args:
        width: channels C.
        groups: G, divides C.
        positions: that an event takes.

    Source: the frequency layer of BSARec, Shin et al. 2024, arXiv:2312.10325, whose low-pass filter is a Fourier
    transform over the whole sequence; this one sees no later position.
    """

    def __init__(self, width: int, groups: int, positions: int = 1):
        super().__init__()
        self._positions = positions
        self.log_decay = nn.Parameter(torch.empty(groups))
        self.beta = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Decays and factors that training starts from."""
        groups = torch.linspace(math.log(_SLOWEST), math.log(_FASTEST), len(self.log_decay))
        init.copy_(self.log_decay, groups - math.log(self._positions))
        init.constant_(self.beta, _FIRST_BETA)

    def forward(self, x: Tensor) -> Tensor:
        """Smoothed vectors: float (B, L, C) from float (B, L, C)."""
        position = torch.arange(x.shape[1], device=x.device)
        weights = self._weights(position.unsqueeze(1) - position).to(x.dtype)  # (G, L, L)
        groups = x.view(*x.shape[:2], len(weights), -1)
        return self._passed(x, torch.einsum("gts,bsgc->btgc", weights, groups).flatten(2))

    def step(self, x: Tensor, seen: Tensor, distance: Tensor) -> Tensor:
        """Smoothed vectors of further positions.

        Args:
            x: float (B, W, C).
            seen: float (B, S, C), what they may look at, themselves among it.
            distance: int64 (B, W, S), from each back to what it looks at; below 0 where it may not.
        Returns:
            float (B, W, C).
        """
        weights = self._weights(distance).to(x.dtype)  # (B, G, W, S)
        groups = seen.view(*seen.shape[:2], weights.shape[1], -1)
        return self._passed(x, torch.einsum("bgts,bsgc->btgc", weights, groups).flatten(2))

    def _weights(self, distance: Tensor) -> Tensor:
        """float (…, G, L, S) from int64 (…, L, S)."""
        logits = -self.log_decay.exp().view(-1, 1, 1) * distance.unsqueeze(-3)
        return logits.masked_fill(distance.unsqueeze(-3) < 0, -math.inf).softmax(-1)

    def _passed(self, x: Tensor, mean: Tensor) -> Tensor:
        return mean + self.beta.square() * (x - mean)


class SmoothedAttention(nn.Module):
    """(1 - share) attention + share averages, in the place of GPT-2's attention.

    Args:
        attention: what it shares the place with.
        config: for the sizes and dropout.
    """

    def __init__(self, attention: GPT2Attention, config: SmoothedGpt2Config):
        super().__init__()
        self.attention = attention
        self.averages = CausalAverages(config.hidden_size, config.smoothing_groups, config.smoothing_positions)
        self.dropout = nn.Dropout(config.resid_pdrop)
        self.share = config.smoothing_share
        self._cached_at: int = config.num_hidden_layers + attention.layer_idx

    def forward(self, hidden: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        """As `GPT2Attention.forward`."""
        attended, weights = self.attention(hidden, **options)
        smooth = self.averages(hidden) if options.get("cache") is None else self._go_on(hidden, **options)
        return (1 - self.share) * attended + self.share * self.dropout(smooth), weights

    def _go_on(
        self, hidden: Tensor, *, cache: Cache, position_ids: Tensor, attention_mask: Tensor | None, **_: Any
    ) -> Tensor:
        """Averages over what was read before, too, which a layer of the cache behind those of attention keeps."""
        cache.layers += [DynamicLayer() for _ in range(self._cached_at + 1 - len(cache.layers))]
        own = position_ids.expand(len(hidden), -1)
        positions, seen = cache.layers[self._cached_at].update(own[:, None, :, None], hidden.unsqueeze(1))
        if seen.shape[2] == hidden.shape[1]:
            smooth = self.averages(hidden)
        else:
            distance = own.unsqueeze(2) - positions.view(len(hidden), 1, -1)
            assert attention_mask is not None  # see `Backbone.step`
            unseen = attention_mask[:, 0, :, -distance.shape[2] :] < 0
            smooth = self.averages.step(hidden, seen.squeeze(1), distance.masked_fill(unseen, -1))
        return cast(Tensor, smooth)


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
            module.reset_parameters()


AutoConfig.register(SmoothedGpt2Config.model_type, SmoothedGpt2Config)
AutoModel.register(SmoothedGpt2Config, SmoothedGpt2Model)
