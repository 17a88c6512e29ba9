"""A frozen backbone in four bits under LoRA, from a tiny BERT on disk."""

from __future__ import annotations

import importlib.util
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import BertConfig, BertModel

from seqrec.errors import BundleError, MissingExtraError, UnsupportedError
from seqrec.export import export_bundle, load_bundle
from seqrec.models import MicroBatch, ModelSettings, SequenceModel, build_model
from seqrec.recipe import build, parse_recipe
from seqrec.training import load_weights

INPUTS, LENGTHS = torch.tensor([[3, 14, 15, 9, 26]]), torch.tensor([5])
WIDTH = 64
IDS = [f"i{item}" for item in range(1, 41)]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(vocab_size=5, max_position_embeddings=16, initializer_range=0.05, **sizes, **no_dropout)
    BertModel(config).save_pretrained(folder)
    return folder


def settings_of(source: Path, quantize: str | None = "nf4") -> ModelSettings:
    return ModelSettings.model_validate(
        {
            "items": {"width": WIDTH, "init_std": 1.0},
            "backbone": {"kind": "pretrained", "source": str(source), "quantize": quantize},
            "adapter": {"kind": "lora", "rank": 4},
            "head": {"kind": "masked_item"},
        }
    )


def build_from(settings: ModelSettings) -> SequenceModel:
    torch.manual_seed(1)
    return build_model(settings, n_items=len(IDS), max_length=12, total_steps=5)


def train(model: SequenceModel) -> list[float]:
    targets = torch.tensor([[0, 15, 0, 26, 3]])
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = model.training_loss(MicroBatch(INPUTS, LENGTHS, targets))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def packed(model: SequenceModel) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.dtype == torch.uint8}


def test_an_adapter_trains_over_packed_weights_which_stay_as_they_are(bert: Path) -> None:
    model, plain = build_from(settings_of(bert)), build_from(settings_of(bert, None))
    assert not any(hasattr(module, "_hf_hook") for module in model.modules())  # it would keep the model on the CPU
    before = packed(model)
    assert len(before) == 12  # the linear layers of two blocks
    weights = 4 * WIDTH * WIDTH + 2 * WIDTH * 2 * WIDTH
    assert sum(weight.numel() for weight in before.values()) == 2 * weights / 2  # two a byte
    with torch.no_grad():
        exact, rounded = plain(INPUTS, LENGTHS), model(INPUTS, LENGTHS)
    error = float((exact - rounded).norm() / exact.norm())
    assert 0.001 < error < 0.3, error
    losses = train(model)
    assert losses == sorted(losses, reverse=True), losses
    assert all(torch.equal(weight, before[name]) for name, weight in packed(model).items())
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert all("lora_" in name for name in trained if name.startswith("backbone."))
    assert any("lora_B" in name for name in trained)


def test_checkpoints_and_bundles_leave_the_base_out(bert: Path, tmp_path: Path) -> None:
    settings = settings_of(bert)
    model = build_from(settings)
    train(model)
    saved = {f"model.{k}": v for k, v in model.state_dict().items() if k not in model.restorable_keys()}
    assert not [name for name in saved if "base_layer" in name]
    again = build_from(settings)
    load_weights(again, {"state_dict": saved})
    with torch.no_grad():
        expected = model.eval()(INPUTS, LENGTHS)
        assert torch.equal(again.eval()(INPUTS, LENGTHS), expected)

    arguments: dict[str, Any] = {
        "model": model, "settings": settings, "item_ids": IDS, "popular": np.ones(len(IDS), np.int64), "seen": "allow",
        "max_length": 12, "recipe_text": "name: tiny\n", "sample_histories": [IDS[:4]],
    }  # fmt: skip
    with pytest.raises(BundleError, match=r"(?s)cannot be merged into quantized weights.*do: +export without `merge`"):
        export_bundle(tmp_path / "merged", merge=True, **arguments)
    bundle = load_bundle(export_bundle(tmp_path / "bundle", **arguments))
    assert bundle.manifest.kind == "adapter"
    assert not (bundle.path / "backbone").exists()
    with torch.no_grad():
        torch.testing.assert_close(bundle.model(INPUTS, LENGTHS), expected, rtol=1e-5, atol=1e-5)
    assert packed(deepcopy(bundle.model)).keys() == packed(model).keys()


def test_what_does_not_go_with_it_is_refused(
    bert: Path, recipe_values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = settings_of(bert).model_dump()
    with pytest.raises(ValidationError, match="quantized weights cannot be trained"):
        ModelSettings.model_validate(values | {"backbone": values["backbone"] | {"trainable": True}})
    recipe = recipe_values | {"model": values | {"adapter": {"kind": "adalora"}}, "selection": {"patience": None}}
    with pytest.raises(UnsupportedError, match=r"model\.backbone\.quantize: `adalora` over quantized"):
        build(parse_recipe(recipe, where="test"), tmp_path)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else find(name))
    with pytest.raises(MissingExtraError, match=r"seqrec\[quantize\]"):
        build_from(settings_of(bert))
