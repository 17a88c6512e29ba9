"""The last block at last positions only: the same vectors, and nothing else of the model changed."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqrec.event_columns import NO_COLUMNS
from seqrec.models import Backbone, ModelSettings, build_model
from seqrec.models.pooling import last

N_ITEMS, MAX_LENGTH = 30, 9


def build(kind: str = "gpt2", layers: int = 2, **changes: Any) -> Any:
    torch.manual_seed(0)
    backbone = {"kind": kind, "layers": layers, "heads": 2, "width": 16, "dropout": 0.5}
    settings = {"backbone": backbone, "items": {"width": 16, "init_std": 1.0}, "loss": {"kind": "full_softmax"}}
    settings |= {"head": {"kind": "masked_item" if kind == "bert" else "next_item"}} | changes
    model = build_model(ModelSettings.model_validate(settings), n_items=N_ITEMS, max_length=MAX_LENGTH, total_steps=9)
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "up" in name:
            nn.init.normal_(parameter, std=0.3)
    return model


def listen(part: nn.Module, seen: list[tuple[int, ...]]) -> None:
    """Adds the shapes of what a part computes; by its method, as hooks keep a block whole."""
    forward = part.forward

    def listened(hidden: Tensor) -> Tensor:
        found: Tensor = forward(hidden)
        seen.append(tuple(found.shape))
        return found

    part.forward = listened  # type: ignore[method-assign]


def histories(seed: int = 1, n: int = 7) -> tuple[Tensor, Tensor]:
    lengths = torch.arange(n) % 8 + 1
    items = torch.randint(1, N_ITEMS + 1, (n, int(lengths.max())), generator=torch.Generator().manual_seed(seed))
    return items.where(torch.arange(items.shape[1]) < lengths.unsqueeze(1), 0), lengths


def whole(model: Any, items: Tensor, lengths: Tensor) -> Tensor:
    inputs, own, events = model.head.query(items, lengths, NO_COLUMNS)
    return last(model(inputs, own, events), own)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(
    ("kind", "adapter"),
    [
        ("gpt2", None),
        ("bert", None),
        ("llama", None),
        ("qwen3", None),
        ("gpt2", {"kind": "lora", "rank": 2}),
        ("llama", {"kind": "bottleneck", "size": 4}),
        ("bert", {"kind": "bottleneck", "size": 4}),
        ("gpt2", {"kind": "prefix", "tokens": 3}),
    ],
)
@torch.no_grad()
def test_vectors_are_those_of_all_positions(kind: str, adapter: Any, layers: int) -> None:
    model = build(kind, layers, adapter=adapter).eval()
    items, lengths = histories()
    assert model.backbone._shortens == (adapter is None or adapter["kind"] != "prefix")
    torch.testing.assert_close(model.user_vectors(items, lengths), whole(model, items, lengths), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_rest_of_the_block_sees_one_position_a_row() -> None:
    model = build().eval()
    seen: list[tuple[int, ...]] = []
    for block in model.backbone.blocks():
        listen(block.mlp, seen)
    items, lengths = histories()
    model.user_vectors(items, lengths)
    assert seen == [(7, 7, 16), (7, 1, 16)]
    seen.clear()
    model(items, lengths)
    assert seen == [(7, 7, 16), (7, 7, 16)]


def test_blocks_that_mix_positions_otherwise_stay_whole() -> None:
    assert not build("smoothed_gpt2").backbone._shortens
    assert not build("gru", backbone={"kind": "gru", "layers": 1, "width": 16}).backbone._shortens


def test_training_computes_every_position() -> None:
    model = build().train()
    seen: list[tuple[int, ...]] = []
    listen(model.backbone.blocks()[-1].mlp, seen)
    items, lengths = histories()
    model.user_vectors(items, lengths).sum().backward()
    assert seen == [(7, 7, 16)]


@torch.no_grad()
def test_hooks_on_parts_of_the_block_come_in_pairs() -> None:
    model = build().eval()
    entered: list[nn.Module] = []
    left: list[nn.Module] = []
    for part in model.backbone.blocks()[-1].modules():
        part.register_forward_pre_hook(lambda module, inputs: entered.append(module))
        part.register_forward_hook(lambda module, inputs, output: left.append(module))
    items, lengths = histories()
    vectors = model.user_vectors(items, lengths)
    assert len(entered) == len(left) == len(set(left))
    torch.testing.assert_close(vectors, whole(model, items, lengths), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_copies_compute_with_their_own_weights() -> None:
    model = build().eval()
    items, lengths = histories()
    before = model.user_vectors(items, lengths)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for parameter in other.backbone.parameters():
            parameter.mul_(0.5)
        torch.testing.assert_close(other.user_vectors(items, lengths), whole(other, items, lengths))
        assert not torch.equal(other.user_vectors(items, lengths), before)
    assert torch.equal(model.user_vectors(items, lengths), before)


def test_threads_do_not_meet() -> None:
    model = build().eval()
    asked = [histories(seed, n) for seed in range(20) for n in (3, 7)]

    def answer(one: tuple[Tensor, Tensor]) -> Tensor:
        with torch.no_grad():
            found: Tensor = model.user_vectors(*one)
            return found

    alone = [answer(one) for one in asked]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(answer, asked))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_second_backbone_around_the_same_model_computes_the_same() -> None:
    model = build().eval()
    items, lengths = histories()
    vectors = model.user_vectors(items, lengths)
    model.backbone = Backbone(model.backbone.model).eval()
    assert torch.equal(model.user_vectors(items, lengths), vectors)


def test_names_of_weights_stay() -> None:
    model = build()
    assert not [name for name in model.state_dict() if "last_position" in name]
