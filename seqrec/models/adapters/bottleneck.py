"""Bottleneck adapters as a method of PEFT, which has none: they are attached, saved and opened as its own are.

Plain `peft` opens a saved one once `seqrec.models` is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn

PEFT_TYPE = "BOTTLENECK"
_PREFIX = "bottleneck_"


@dataclass
class BottleneckConfig(PeftConfig):  # type: ignore[misc]
    """What PEFT saves of it.

    Args:
        size: units of the bottleneck, M.
        target_modules: linear layers whose outputs pass one.
    """

    size: int = field(default=64)
    target_modules: list[str] | set[str] | None = field(default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PEFT_TYPE


class BottleneckLayer(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """A linear layer, and behind it y + W_up gelu(W_down y + b) + c, which starts as y.

    Source: Houlsby et al. 2019, arXiv:1902.00751, where the layer is the last of attention or of the feed-forward part.
    """

    adapter_layer_names = ("bottleneck_down", "bottleneck_up")
    if TYPE_CHECKING:  # of PEFT's class, which says nothing of types
        _move_adapter_to_device_of_base_layer: Any
        set_adapter: Any
        get_base_layer: Any
        active_adapters: list[str]
        disable_adapters: bool

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: BottleneckConfig):
        super().__init__()
        self.base_layer = base_layer
        self.bottleneck_down, self.bottleneck_up = nn.ModuleDict(), nn.ModuleDict()
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config)

    def update_layer(self, adapter_name: str, config: BottleneckConfig) -> None:
        """Adds an adapter of that name."""
        base = self.get_base_layer()
        width: int = base.nf if hasattr(base, "nf") else base.out_features  # Conv1D's name for it
        down, up = nn.Linear(width, config.size), nn.Linear(config.size, width)
        nn.init.zeros_(up.weight)
        nn.init.zeros_(up.bias)
        self.bottleneck_down[adapter_name], self.bottleneck_up[adapter_name] = down, up
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """float (…, D) of what the base layer takes."""
        y: Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters:
            return y
        for name in self.active_adapters:
            if name in self.bottleneck_down:
                y = y + self.bottleneck_up[name](F.gelu(self.bottleneck_down[name](y)))
        return y


class BottleneckModel(BaseTuner):  # type: ignore[misc]
    """Puts `BottleneckLayer`s into a model."""

    prefix = _PREFIX
    tuner_layer_cls = BottleneckLayer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012 - PEFT declares it so

    def _create_and_replace(
        self,
        peft_config: BottleneckConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
    ) -> None:
        if isinstance(target, BottleneckLayer):
            target.update_layer(adapter_name, peft_config)
        else:
            self._replace_module(parent, target_name, BottleneckLayer(target, adapter_name, peft_config), target)


# `register_peft_method` takes only types that PEFT's enum knows; its tables are keyed by text
PEFT_TYPE_TO_CONFIG_MAPPING[PEFT_TYPE] = BottleneckConfig
PEFT_TYPE_TO_TUNER_MAPPING[PEFT_TYPE] = BottleneckModel
PEFT_TYPE_TO_PREFIX_MAPPING[PEFT_TYPE] = _PREFIX
