"""Methods of fine-tuning, and the size at which each has a given number of parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from transformers import PreTrainedModel

from seqrec.errors import AdapterError
from seqrec.models.adapters import AdapterSettings, attach

_ADAPTERS: TypeAdapter[Any] = TypeAdapter(AdapterSettings)
_ANY_STEPS = 1_000_000  # AdaLoRA's schedule has no part in how many parameters there are


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        settings: makes `model.adapter` of a size; None where there is no adapter.
        sized: whether the size changes anything.
        trains_backbone: whether the backbone's own weights are trained.
        sizes: all that it can have; None for any from 1.
        takes_positions: whether the size is a number of virtual tokens.
    """

    settings: Callable[[int], dict[str, Any]] | None
    sized: bool = True
    trains_backbone: bool = False
    sizes: Sequence[int] | None = None
    takes_positions: bool = False

    def adapter(self, size: int) -> Any:
        """Settings of the adapter at a size; None where there is none."""
        return None if self.settings is None else _ADAPTERS.validate_python(self.settings(size))

    def size_for(self, parameters: int, base: PreTrainedModel, *, most_tokens: int) -> int:
        """The size whose number of parameters lies closest to what is wanted.

        Args:
            parameters: of the adapter.
            base: frozen, without an adapter; stays as it is.
            most_tokens: positions that virtual tokens may take.
        Raises:
            AdapterError: no size fits the backbone.
        """
        if not self.sized:
            return 1
        if self.sizes is not None:
            counts = {size: count for size in self.sizes if (count := self._count_if_it_fits(base, size)) is not None}
            if not counts:
                self.parameters(base, self.sizes[0])  # says why
            return min(counts, key=lambda size: abs(counts[size] - parameters))
        if self.takes_positions and most_tokens < 1:
            raise AdapterError(
                "the backbone has no positions for virtual tokens beside those of the longest history",
                where="model.adapter",
                do="lower `data.max_length`, or leave the method out",
            )
        two, four = self.parameters(base, 2), self.parameters(base, 4)
        about = round(2 + 2 * (parameters - two) / (four - two))  # AdaLoRA's grow evenly with every other unit only
        sizes = range(max(1, about - 1), max(1, about + 1) + 1)
        size = min(sizes, key=lambda size: abs(self.parameters(base, size) - parameters))
        return min(size, most_tokens) if self.takes_positions else size

    def parameters(self, base: PreTrainedModel, size: int) -> int:
        """How many parameters the adapter has; 0 without one.

        Raises:
            AdapterError: it does not fit the backbone.
        """
        adapter = self.adapter(size)
        if adapter is None:
            return 0
        adapted = attach(deepcopy(base), adapter, total_steps=_ANY_STEPS)
        return sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)

    def _count_if_it_fits(self, base: PreTrainedModel, size: int) -> int | None:
        try:
            return self.parameters(base, size)
        except AdapterError:
            return None


METHODS = {
    "full": Method(None, sized=False, trains_backbone=True),
    "head_only": Method(None, sized=False),
    "lora": Method(lambda n: {"kind": "lora", "rank": n}),
    "rslora": Method(lambda n: {"kind": "lora", "rank": n, "rank_stabilized": True}),
    "pissa": Method(lambda n: {"kind": "lora", "rank": n, "initialization": "pissa"}),
    "dora": Method(lambda n: {"kind": "lora", "rank": n, "dora": True}),
    "adalora": Method(lambda n: {"kind": "adalora", "initial_rank": n + max(1, n // 2), "target_rank": n}),
    # its size is that of matrices that are not trained: at LoRA's number of parameters they would be thousands wide
    "vera": Method(lambda n: {"kind": "vera", "rank": n}, sizes=[2**k for k in range(4, 11)]),
    "ia3": Method(lambda n: {"kind": "ia3"}, sized=False),
    "oft": Method(lambda n: {"kind": "oft", "block_size": n}, sizes=[2**k for k in range(1, 10)]),
    "layer_norm": Method(lambda n: {"kind": "layer_norm"}, sized=False),
    "bottleneck": Method(lambda n: {"kind": "bottleneck", "size": n}),
    "prefix": Method(lambda n: {"kind": "prefix", "tokens": n}, takes_positions=True),
    "prompt": Method(lambda n: {"kind": "prompt", "tokens": n}, takes_positions=True),
}
