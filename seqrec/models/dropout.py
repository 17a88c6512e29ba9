"""Dropout that depends on the row, and not on the batch, the rank or the run that the row is met in.

A mask is a pure function of (row key, place in the model, position, channel). So a global batch has the same masks on
one process and on many, and a resumed run draws what an undisturbed one would, with no random state to save.

The bits are SplitMix64's, as in `seqrec.random`, sixteen a channel: on a CPU this takes a quarter of the time of
torch's own dropout, which draws one number after another.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from seqrec.models.last_position import LastPosition

_LANES = 4  # draws of 16 bits in a word
_AXIS = 20  # bits of a counter that each axis of a tensor has
ATTENTION = "seqrec_keyed"
_SHORT = 64  # positions: at 4 the kernel takes three times as long as single steps, at 100 two thirds of their time


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


_GAMMA = _signed(0x9E3779B97F4A7C15)
_ROUNDS = ((30, _signed(0xBF58476D1CE4E5B9)), (27, _signed(0x94D049BB133111EB)), (31, 1))


class RowKeys:
    """The keys of the batch at hand, shared by every place of a model that drops.

    Attributes:
        rows: int64 (B,), one key a sequence; None where there are none, and then torch's own generator draws. They stay
            until the next batch, since activation checkpointing asks again in the backward pass.
    """

    rows: Tensor | None = None


@dataclass
class Site:
    """One place of a model that drops.

    Args:
        keys: of the batch at hand.
        name: of the place; two places draw independently.
    """

    keys: RowKeys
    name: str

    def __post_init__(self) -> None:
        self._salt = _salt(self.name)  # once, as torch.compile cannot look into a hash

    def __call__(self, x: Tensor, p: float) -> Tensor:
        """Zeroes each element with probability p, a multiple of 2**-16, and scales the others by 1 / (1 - p).

        Torch's own generator draws where the first axis is not that of the keys, as in a filler, which has none.

        Args:
            x: float (B, …, C), two to four axes.
        """
        rows = self.keys.rows
        if rows is None or len(rows) != len(x):
            return F.dropout(x, p, training=True)
        draws = keyed_draws(mix(rows + self._salt), x.shape)
        dropped = round(p * 2**16)
        keep = (draws >= dropped - 2**15).to(x.dtype).mul_(2**16 / (2**16 - dropped))
        return x * keep


class KeyedDropout(nn.Dropout):
    """`torch.nn.Dropout` at a site."""

    def __init__(self, p: float, site: Site):
        super().__init__(p)
        self.site = site

    def forward(self, input: Tensor) -> Tensor:
        """As `Site`, in training only."""
        return self.site(input, self.p) if self.training and self.p else input


def key_dropout(model: nn.Module, base: PreTrainedModel) -> RowKeys:
    """Makes every dropout module of a model keyed, in place, and attention's own where that is torch's SDPA.

    What else drops, as a model that calls `torch.nn.functional.dropout`, goes on to draw from torch's own generator.

    Args:
        model: the base with or without an adapter around it.
        base: the Hugging Face model in it.
    Returns:
        What to put a batch's keys into.
    """
    keys = RowKeys()
    for name, module in list(model.named_modules()):
        for child_name, child in module.named_children():
            if type(child) is nn.Dropout:
                keyed = KeyedDropout(child.p, Site(keys, f"{name}.{child_name}"))
                setattr(module, child_name, keyed.train(child.training))
        # every module, since nothing that all architectures have tells which ones ask for attention
        module.dropout_site = Site(keys, f"{name}.attention")
    if base.config._attn_implementation == "sdpa":
        base.set_attn_implementation(ATTENTION)
    return keys


def keys_for(rows: Tensor, purpose: str) -> Tensor:
    """Further keys of the same rows, int64 (B,), whose draws have nothing to do with those of other purposes."""
    return mix(rows + _salt(purpose))


def _salt(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


def keyed_draws(keys: Tensor, shape: torch.Size) -> Tensor:
    """int16 of ``shape`` (B, …, C), uniform over all 2**16 values.

    A draw depends on its row's key and its index on the other axes, not on how long those are.
    """
    counters = torch.arange(-(-shape[-1] // _LANES), device=keys.device)
    for axis, size in enumerate(reversed(shape[1:-1]), start=1):
        index = torch.arange(size, device=keys.device) << _AXIS * axis
        counters = counters + index.view(-1, *[1] * axis)
    words = mix(keys.view(-1, *[1] * counters.dim()) + counters * _GAMMA)
    return words.view(torch.int16)[..., : shape[-1]]


def mix(words: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64, whose products wrap around, in place."""
    shifted = torch.empty_like(words)
    for bits, factor in _ROUNDS:
        torch.bitwise_right_shift(words, bits, out=shifted)
        words.bitwise_xor_(shifted.bitwise_and_((1 << 64 - bits) - 1)).mul_(factor)
    return words


def _keyed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """SDPA, or the same in single steps where weights are dropped or that is faster.

    Arguments are as Hugging Face's interface has them.
    """
    shortened: LastPosition | None = getattr(module, "last_position", None)
    if shortened is not None and (asked := shortened.attend(query, key, value, attention_mask)):
        query, key, value, attention_mask = asked
        is_causal = False  # the mask has it
    if not dropout and not _in_steps(query, key):
        options = others | {"scaling": scaling, "is_causal": is_causal, "position_bias": position_bias}
        found: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return found
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if position_bias is not None:
        scores = scores + position_bias
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if attention_mask is None and causal:
        attention_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    elif attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(-1)
    if dropout:
        weights = module.dropout_site(weights, dropout)  # type: ignore[operator]
    return (weights @ value).transpose(1, 2).contiguous(), None


def _in_steps(query: Tensor, key: Tensor) -> bool:
    """Whether single steps take less time than torch's kernel, which on a CPU is made for long sequences."""
    if query.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return query.shape[-2] == key.shape[-2] <= _SHORT


AttentionInterface.register(ATTENTION, _keyed_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
