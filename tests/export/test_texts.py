"""Models that read histories as text, in bundles: for seqrec, and for plain transformers with a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from export.conftest import HISTORIES, ITEM_IDS, MAX_LENGTH, MINILM, N_ITEMS, export, run_card, train
from seqrec.errors import BundleError
from seqrec.export import History, load_bundle
from seqrec.features import read_history_text
from seqrec.models import ModelSettings, SequenceModel, build_model
from seqrec.serving import Recommender
from seqrec.store import Catalogue

WORDS = ("soap", "towel", "shampoo", "comb", "face cream")
TITLES = [f"{WORDS[item % len(WORDS)]} number {item}" for item in range(N_ITEMS)]


def build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, actions: Sequence[str] = (), **changes: Any
) -> tuple[SequenceModel, ModelSettings]:
    monkeypatch.setenv("SEQREC_CACHE", str(tmp_path / "cache"))
    text = {"template": "{title}; ", "instruction": "What comes after:", "item_tokens": 6} | changes.pop("text", {})
    backbone = {"kind": "pretrained", "source": MINILM} | changes.pop("backbone", {})
    settings = ModelSettings.model_validate(
        {"backbone": backbone, "items": {"width": 16, "init_std": 1.0}, "head": {"kind": "masked_item"}, "text": text}
        | changes
    )
    catalogue = Catalogue(pa.table({"item_id": ITEM_IDS, "title": TITLES}))
    assert settings.text is not None
    written = read_history_text(settings.text, settings.backbone, catalogue, with_mask=True, actions=actions)
    torch.manual_seed(0)
    model = build_model(settings, n_items=N_ITEMS, max_length=MAX_LENGTH, total_steps=3, text=written, actions=actions)
    assert isinstance(model, SequenceModel)
    return model, settings


@pytest.mark.parametrize(
    ("kind", "changes", "merge"),
    [
        ("frozen", {}, False),
        ("adapter", {"adapter": {"kind": "lora", "rank": 2}}, False),
        ("merged", {"adapter": {"kind": "lora", "rank": 2}}, True),
        ("full", {"backbone": {"trainable": True}, "items": {"width": 384}}, False),
    ],
)
def test_it_answers_as_the_model_does(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch, kind: str, changes: dict[str, Any], merge: bool
) -> None:
    model, settings = build(tmp_path, monkeypatch, **changes)
    train(model, range(2))
    path = export(tmp_path / "bundle", model.eval(), settings, merge=merge)
    bundle = load_bundle(path)  # which compares the samples' scores
    assert bundle.manifest.kind == kind
    assert (path / "text.safetensors").is_file()
    assert "text.safetensors" in bundle.manifest.files
    [slate] = Recommender.from_bundle(bundle).recommend([HISTORIES[0]], k=5)
    sample = [one.item_id for one in bundle.samples.samples[0].top]
    assert [one.item_id for one in slate] == [item_id for item_id in sample if item_id not in HISTORIES[0]][:5]
    assert run_card(path) == sample[:10]


def test_a_whole_model_has_its_words_and_their_tokenizer(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, settings = build(tmp_path, monkeypatch, adapter={"kind": "lora", "rank": 2})
    path = export(tmp_path / "bundle", model, settings, merge=True)
    tokenizer = AutoTokenizer.from_pretrained(path / "backbone")
    text = load_file(path / "text.safetensors")
    for place in (0, 7, N_ITEMS - 1):
        tokens = text["items.tokens"][place, : text["items.lengths"][place]]
        assert tokenizer.decode(tokens) == f"{TITLES[place]} ;"
    assert text["mask"].tolist() == [tokenizer.mask_token_id]
    weights = load_file(path / "backbone" / "model.safetensors")
    assert len(weights["embeddings.word_embeddings.weight"]) == len(tokenizer)


def test_words_of_another_base_model_are_noticed(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, settings = build(tmp_path, monkeypatch)
    path = export(tmp_path / "bundle", model, settings)
    other = tmp_path / "other"
    model, settings = build(tmp_path, monkeypatch, adapter={"kind": "lora", "rank": 2})
    whole = export(tmp_path / "whole", model, settings, merge=True)  # its adapter is as new, and changes nothing
    (whole / "backbone").rename(other)
    load_bundle(path, base=str(other))
    tensors = load_file(other / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"] *= 2
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(BundleError, match="scores"):
        load_bundle(path, base=str(other))


def test_what_is_said_of_actions_comes_along(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, settings = build(
        tmp_path, monkeypatch, ["seen", "bought"], text={"actions": " was {action}; ", "item_tokens": 4}
    )
    histories = [History(["-005", "-006"], actions=["seen", "bought"]), History(["-007"], actions=["seen"])]
    path = export(tmp_path / "bundle", model, settings, sample_histories=histories, actions=["seen", "bought"])
    recommender = Recommender.from_bundle(load_bundle(path))
    assert recommender.recommend(histories[:1], k=3) != recommender.recommend(
        [History(["-005", "-006"], actions=["bought", "seen"])], k=3
    )


def test_graphs_are_refused(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, settings = build(tmp_path, monkeypatch)
    with pytest.raises(BundleError, match="a graph does not read histories as text"):
        export(tmp_path / "bundle", model, settings, forms=["onnx"])
    assert not (tmp_path / "bundle").exists()
