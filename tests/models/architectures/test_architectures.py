"""What holds for every architecture of our own, beyond the contract of all backbones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from seqrec.errors import AdapterError
from seqrec.event_columns import EventColumns
from seqrec.models import Backbone, ModelSettings, PretrainedBackboneSettings, build_model, load_backbone

SMALL: dict[str, dict[str, Any]] = {
    "gru": {"kind": "gru"},
    "lstm": {"kind": "lstm"},
    "hstu": {"kind": "hstu", "heads": 2, "time_bias": 12},
    "hstu-rotary": {"kind": "hstu", "heads": 2, "positions": "rotary"},
    "gated": {"kind": "gated_transformer", "heads": 2, "positions": "none"},
    "gated-rotary": {"kind": "gated_transformer", "heads": 2, "positions": "rotary"},
}
DAY = 86_400_000_000
VECTORS = torch.randn(3, 7, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
TIMES = torch.tensor([[0, 1, 1, 3, 9, 30, 31], [5, 6, 8, 9, 0, 0, 0], [2, 2, 2, 2, 400, 0, 0]]) * DAY
LENGTHS = torch.tensor([7, 4, 5])


def make(name: str, dropout: float = 0.0) -> Backbone:
    fields = {"layers": 2, "width": 8, "dropout": dropout} | SMALL[name]
    torch.manual_seed(0)
    backbone = Backbone(load_backbone(ModelSettings.model_validate({"backbone": fields}).backbone, positions=7))
    return backbone.double()


NETWORKS = {name: make(name).eval() for name in SMALL}


def run(backbone: Backbone, rows: Any, keys: list[int], length: int = 7) -> Tensor:
    backbone.dropout_keys.rows = torch.tensor(keys)
    return backbone(VECTORS[rows, :length], LENGTHS[rows], EventColumns(timestamps=TIMES[rows, :length]))


@pytest.mark.parametrize("name", SMALL)
def test_a_row_drops_the_same_in_any_batch_at_any_padding(name: str) -> None:
    backbone = make(name, dropout=0.3)
    together, alone = run(backbone, [0, 1, 2], [5, 6, 7]), run(backbone, [1], [6], length=4)
    torch.testing.assert_close(together[1, :4], alone[0], rtol=1e-12, atol=1e-12)
    assert (run(backbone, [1], [8], length=4) - alone).abs().max() > 1e-3


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=15)
@given(at=st.integers(0, 6), later=st.integers(0, 10**6), seed=st.integers(0, 99))
def test_changing_an_event_changes_nothing_before_it(name: str, at: int, later: int, seed: int) -> None:
    vectors, times = VECTORS[:1].clone(), TIMES[:1].clone()
    vectors[0, at] = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    times[0, at:] += later * 1_000_000
    backbone, lengths = NETWORKS[name], torch.tensor([7])
    with torch.no_grad():
        one = backbone(VECTORS[:1], lengths, EventColumns(timestamps=TIMES[:1]))
        other = backbone(vectors, lengths, EventColumns(timestamps=times))
    assert torch.equal(one[0, :at], other[0, :at])
    assert not torch.equal(one[0, at], other[0, at])


@pytest.mark.parametrize("name", SMALL)
def test_what_is_saved_opens_as_any_hugging_face_model(name: str, tmp_path: Path) -> None:
    backbone = NETWORKS[name]
    backbone.model.save_pretrained(tmp_path)
    settings = PretrainedBackboneSettings(kind="pretrained", source=str(tmp_path))
    opened = Backbone(load_backbone(settings, positions=7)).double().eval()
    assert opened.columns == backbone.columns
    with torch.no_grad():
        torch.testing.assert_close(run(opened, [0, 1], [1, 2]), run(backbone, [0, 1], [1, 2]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["gru", "hstu", "gated"])
def test_blocks_are_recomputed_to_the_same_gradients(name: str) -> None:
    found = []
    for checkpointing in (False, True):
        backbone = make(name, dropout=0.3)
        if checkpointing:
            backbone.model.activation_checkpointing_enable({"use_reentrant": False})
        run(backbone, [0, 1, 2], [5, 6, 7]).square().sum().backward()
        found.append([p.grad for p in backbone.parameters() if p.requires_grad])
    assert len(backbone.blocks()) == 2
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)


def test_recurrent_networks_take_no_adapter() -> None:
    values = {"backbone": {"kind": "gru"}, "adapter": {"kind": "lora"}}
    with pytest.raises(AdapterError, match=r"(?s)model\.adapter: `seqrec_recurrent` has no linear layers.*null"):
        build_model(ModelSettings.model_validate(values), n_items=5, max_length=4, total_steps=1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "hstu", "heads": 3}, "3 heads do not divide the width of 64"),
        ({"kind": "gated_transformer", "width": 6, "heads": 2, "positions": "rotary"}, "even width, not of 3"),
        ({"kind": "gru", "heads": 2}, "Extra inputs"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelSettings.model_validate({"backbone": fields})
