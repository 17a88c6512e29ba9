"""Sequence models from Hugging Face, fed with item vectors instead of tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from seqrec.event_columns import NO_COLUMNS, ColumnName, EventColumns
from seqrec.models.adapters import virtual_tokens
from seqrec.models.architectures import Network
from seqrec.models.dropout import ATTENTION, key_dropout
from seqrec.models.last_position import by_attention_alone, last_position, shorten


class Backbone(nn.Module):
    """A Hugging Face encoder or decoder over item vectors.

    Args:
        base: the Hugging Face model as `load_backbone` gives it; it must accept `inputs_embeds`.
        adapter: puts an adapter around the model, in place (see `seqrec.models.adapters.attach`); None for none.
        pretrained: whether the weights of ``base`` can be loaded again from where they came from.
        compiled: whether to compile each block, when it is first computed.

    Attributes:
        causal: whether a position sees only itself and what lies before it.
        columns: what it reads of events beside their items.
        base_fingerprint: `fingerprint` of a pretrained ``base`` as it was before the adapter and any training, which
            names what the adapter belongs to; None for random weights.
        dropout_keys: takes the keys of a batch's rows before a forward pass in training.
    """

    def __init__(
        self,
        base: PreTrainedModel,
        adapter: Callable[[PreTrainedModel], nn.Module] | None = None,
        *,
        pretrained: bool = False,
        compiled: bool = False,
    ):
        super().__init__()
        self.config = base.config
        self.causal = is_causal(base)
        self.columns: tuple[ColumnName, ...] = base.columns if isinstance(base, Network) else ()
        self.base_fingerprint = fingerprint(base) if pretrained and base.device.type != "meta" else None
        frozen = not any(parameter.requires_grad for parameter in base.parameters())
        self._restorable = frozenset(base.state_dict()) if pretrained and frozen else frozenset()
        self.model: nn.Module = adapter(base) if adapter else base
        self._prefix_of_base = next(f"{name}." for name, module in self.named_modules() if module is base)
        self._virtual_tokens = virtual_tokens(self.model)
        self.dropout_keys = key_dropout(self.model, base)
        # a prompt's positions would be counted with the lengths, and a compiled block is one piece
        whole = compiled or self._virtual_tokens or base.config._attn_implementation != ATTENTION
        self._shortens = not whole and by_attention_alone(base)
        if self._shortens:
            shorten(self.blocks()[-1])
        if compiled:
            for block in self.blocks():
                block.compile(dynamic=True)  # lengths differ from batch to batch

    @property
    def width(self) -> int:
        """Hidden size H."""
        return int(self.config.hidden_size)

    @property
    def positions(self) -> int:
        """Longest input whose positions the backbone can tell apart."""
        return usable_positions(self.model) - self._virtual_tokens

    def forward(
        self,
        vectors: Tensor,
        lengths: Tensor,
        events: EventColumns = NO_COLUMNS,
        cache: Cache | None = None,
        *,
        last_only: bool = False,
    ) -> Tensor:
        """Hidden states of right-padded sequences.

        Args:
            vectors: float (B, L, H).
            lengths: int64 (B,), real positions of each row, 1..L.
            events: columns (B, L) beside ``vectors``, at least those of `columns`.
            cache: takes keys and values, for `step`; causal backbones of transformers only.
            last_only: whether no position but a row's last will be read, which saves time out of training.
        Returns:
            float (B, L, H); what stands at padding must not be read.
        """
        # right padding lies after all that a causal position may see, so a causal backbone needs no mask
        mask = None if self.causal else _attention_mask(lengths, vectors.shape[1])
        keeps = {"use_cache": False} if cache is None else {"use_cache": True, "cache": cache}
        columns = {name: getattr(events, name) for name in self.columns}
        shortened = last_only and self._shortens and not self.training and not torch.compiler.is_compiling()
        with last_position(lengths) if shortened else nullcontext():
            found = self.model(inputs_embeds=vectors, attention_mask=mask, **keeps, **columns)
        hidden: Tensor = found.last_hidden_state
        return hidden[:, -vectors.shape[1] :]  # a prompt stands before them

    def step(self, vectors: Tensor, positions: Tensor, visible: Tensor, cache: Cache) -> Tensor:
        """Hidden states of further positions, in a causal backbone.

        Args:
            vectors: float (B, W, H).
            positions: int64 (B, W), which place in the sequence each stands for; several may stand for one.
            visible: bool (B, W, S + W), which of the S positions in the cache and of these each one sees.
            cache: keys and values of all positions before; takes those of these.
        Returns:
            float (B, W, H).
        """
        # as numbers to be added, which every implementation of attention that takes masks understands
        mask = torch.zeros(visible.shape, dtype=vectors.dtype, device=vectors.device)
        mask = mask.masked_fill_(~visible, torch.finfo(vectors.dtype).min).unsqueeze(1)
        hidden: Tensor = self.model(
            inputs_embeds=vectors, position_ids=positions, attention_mask=mask, cache=cache, use_cache=True
        ).last_hidden_state
        return hidden

    def blocks(self) -> list[nn.Module]:
        """The layers that repeat, from the input on: what Hugging Face recomputes as one."""
        return [module for module in self.model.modules() if isinstance(module, GradientCheckpointingLayer)]

    def restorable_keys(self) -> frozenset[str]:
        """Names, as in `state_dict`, of the weights and buffers of a base that is pretrained and wholly frozen.

        They can be had again from the pretrained source, so a checkpoint need not hold them. What an adapter adds is
        never among them, frozen or not.
        """
        return frozenset(key for key in self.state_dict() if self._name_in_base(key) in self._restorable)

    def _name_in_base(self, key: str) -> str:
        """The name that a key of `state_dict` had in the base model before peft wrapped model and layers."""
        return key.removeprefix(self._prefix_of_base).replace(".base_layer.", ".")


def _attention_mask(lengths: Tensor, n_positions: int) -> Tensor:
    return (torch.arange(n_positions, device=lengths.device) < lengths.unsqueeze(1)).long()


@torch.no_grad()
def is_causal(model: PreTrainedModel) -> bool:
    """Whether a position sees only itself and what lies before it; found by changing a later one and looking.

    On the meta device there is nothing to look at, and what attention modules say of themselves is believed.
    """
    if model.device.type == "meta":
        return any(getattr(module, "is_causal", False) for module in model.modules())
    # two random vectors: a constant added to one would vanish in a LayerNorm at the input, as BERT's
    first_item, *later_items = torch.randn(3, model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    inputs = [torch.stack([first_item, later]).unsqueeze(0).to(model.device, model.dtype) for later in later_items]
    training = model.training
    model.eval()
    one, other = (model(inputs_embeds=vectors, use_cache=False).last_hidden_state[0, 0] for vectors in inputs)
    model.train(training)
    return bool(torch.equal(one, other))


def usable_positions(model: nn.Module) -> int:
    """Most positions that a Hugging Face model can tell apart."""
    # RoBERTa and its kin number positions from padding_idx + 1, so that the first rows of their table are never used
    unused = (
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    )
    return int(model.config.max_position_embeddings) - next(unused, 0)  # type: ignore[union-attr,arg-type]


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, shapes, dtypes and values of a model's state, which tells one base model from another."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
