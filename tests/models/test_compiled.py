from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from seqrec.models import MicroBatch, ModelSettings, SequenceModel, build_model


def model(*, compiled: bool) -> SequenceModel:
    backbone = {"kind": "gpt2", "layers": 2, "heads": 2, "width": 16, "dropout": 0.1, "compile": compiled}
    settings = ModelSettings.model_validate({"items": {"width": 16}, "backbone": backbone})
    torch.manual_seed(0)
    return build_model(settings, n_items=40, max_length=24, total_steps=10)


def test_compiled_blocks_give_the_same_and_settle_for_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch captures and how often; what Inductor makes of it takes a minute to compile."""
    counter, original = CompileCounter(), nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: original(self, backend=counter, **options))
    one, other = model(compiled=False), model(compiled=True)
    compilations: list[Any] = []
    for length in (7, 12, 20, 5, 16):
        inputs = torch.arange(4 * length).view(4, length) % 40 + 1
        batch = MicroBatch(inputs, torch.full((4,), length), inputs.roll(1, 1), dropout_keys=torch.arange(4))
        gradients = []
        for each in (one, other):
            each.zero_grad()
            each.training_loss(batch).backward()
            gradients.append([parameter.grad for parameter in each.parameters() if parameter.grad is not None])
        torch.testing.assert_close(gradients[1], gradients[0])
        compilations.append(counter.frame_count)
    assert compilations[0] > 0
    assert compilations[-1] == compilations[1]
