from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from export.conftest import BATCH, HISTORIES, ITEM_IDS, MAX_LENGTH, N_ITEMS, Exported, build, export, run_card, train
from seqrec.errors import BundleError, MissingExtraError, UnsupportedError
from seqrec.export import evaluating, load_bundle, parse_forms
from seqrec.export.forms import write
from seqrec.export.forms.questions import ndcg, same_top
from seqrec.models import ModelSettings, SequenceModel, build_model

KINDS = ["gpt2", "bert", "lora", "prefix", "gated"]
PRODUCTS = ("onnx", "int8", "index")
READ_BY_OTHERS = """
import json, sys
import faiss, numpy as np, onnxruntime
folder, history = sys.argv[1], json.loads(sys.argv[2])
item_ids = json.load(open(f"{folder}/items.json"))
items = np.array([[item_ids.index(one) + 1 for one in history]])
session = onnxruntime.InferenceSession(f"{folder}/onnx/model.onnx")
users, scores = session.run(["user_vectors", "scores"], {"items": items, "lengths": np.array([len(history)])})
found = faiss.read_index(f"{folder}/index/items.faiss").search(users, 10)[1][0]
print(json.dumps({"scores": scores[0].tolist(), "found": [item_ids[item] for item in found]}))
"""


def held_out(n: int = 30) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Users whose next item is the one that the models were trained to tell, in two batches."""
    starts = torch.arange(n) % N_ITEMS
    items = (starts.unsqueeze(1) + torch.arange(5)) % N_ITEMS + 1
    following = (starts + 5) % N_ITEMS + 1
    lengths = torch.full((n,), 5)
    return [(items[:BATCH], lengths[:BATCH], following[:BATCH]), (items[BATCH:], lengths[BATCH:], following[BATCH:])]


def ndcg_of(model: SequenceModel) -> float:
    total = 0.0
    with evaluating(model):
        for items, lengths, following in held_out():
            scores = model.user_vectors(items, lengths) @ model.item_vectors().T
            better = (scores > scores.gather(1, following.unsqueeze(1) - 1)).sum(1).double()
            total += float((1 / (better + 2).log2()).where(better < 10, 0).sum())
    return total / 30


def model_of(kind: str, exported: dict[str, Exported]) -> tuple[SequenceModel, ModelSettings]:
    if kind in exported:
        return exported[kind].model, exported[kind].settings
    backbone = {"kind": "gated_transformer", "layers": 1, "width": 16, "heads": 2}
    scores = {"kind": "cosine", "temperature": 0.1}
    settings = ModelSettings.model_validate({"backbone": backbone, "items": {"width": 16}, "scores": scores})
    torch.manual_seed(0)
    model = build_model(settings, n_items=N_ITEMS, max_length=MAX_LENGTH, total_steps=9)
    train(model, range(1, 9))
    return model, settings


@pytest.mark.parametrize("kind", KINDS)
def test_each_form_answers_as_the_model_does(
    kind: str, exported: dict[str, Exported], tmp_path: Path, quick: None
) -> None:
    model, settings = model_of(kind, exported)
    path = export(tmp_path / "bundle", model, settings, forms=PRODUCTS, held_out=held_out())
    reports = load_bundle(path).manifest.forms
    assert list(reports) == list(PRODUCTS)
    onnx, int8, index = reports.values()
    assert onnx.max_difference is not None
    assert onnx.max_difference <= 1e-5
    assert onnx.same_top_10 is not None
    assert onnx.same_top_10 > 0.99
    assert onnx.ndcg_10 == pytest.approx(onnx.live_ndcg_10, abs=1e-3)
    assert onnx.live_ndcg_10 == pytest.approx(ndcg_of(model))
    assert int8.max_difference is not None
    assert 1e-5 < int8.max_difference < 0.5  # it is rounded, and it is the same model
    assert int8.same_top_10 is not None
    assert int8.same_top_10 > 0.5
    assert (index.max_difference, index.users) == (None, 30)
    assert index.same_top_10 is not None
    assert index.same_top_10 > 0.95
    for report in reports.values():
        assert report.size_bytes == (path / report.file).stat().st_size
        assert set(report.milliseconds) == set(report.live_milliseconds) == {"1", "64"}
        assert report.file in load_bundle(path).manifest.files


def test_a_program_of_somebody_else_reads_them(exported: dict[str, Exported], tmp_path: Path, quick: None) -> None:
    found = exported["lora"]
    path = export(tmp_path / "bundle", found.model, found.settings, forms=["onnx", "index"])
    for history, expected in zip(HISTORIES[:2], found.scores, strict=False):
        command = [sys.executable, "-I", "-c", READ_BY_OTHERS, str(path), json.dumps(history)]
        said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        np.testing.assert_allclose(said["scores"], expected, atol=1e-5 * float(expected.abs().max()))
        best = [ITEM_IDS[item] for item in expected.topk(10).indices]
        assert len(set(best) & set(said["found"])) >= 9


def test_a_graph_says_nothing_of_the_machine_that_made_it(
    exported: dict[str, Exported], tmp_path: Path, quick: None
) -> None:
    found = exported["gpt2"]
    path = export(tmp_path / "bundle", found.model, found.settings, forms=["onnx", "int8"])
    for file in ("model.onnx", "model.int8.onnx"):
        content = (path / "onnx" / file).read_bytes()
        assert b"site-packages" not in content
        assert b".py" not in content


def test_without_users_nothing_is_said_of_quality(exported: dict[str, Exported], tmp_path: Path, quick: None) -> None:
    found = exported["gpt2"]
    path = export(tmp_path / "bundle", found.model, found.settings, forms=["int8", "index"])
    for report in load_bundle(path).manifest.forms.values():
        assert (report.users, report.same_top_10, report.ndcg_10, report.live_ndcg_10) == (0, None, None, None)
        assert report.milliseconds["1"] > 0
    assert not (path / "onnx" / "model.onnx").exists()  # nobody asked for it
    assert load_file(path / "items.safetensors")["items.weight"].shape == (N_ITEMS, 16)


def test_a_graph_with_other_scores_is_refused(
    exported: dict[str, Exported], tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, _ = build("gpt2")
    train(other, range(1, 3))

    def write_another(model: SequenceModel, file: Path, *, most: int) -> None:
        written(other.eval(), file, most=most)

    written = write.write_onnx
    monkeypatch.setattr(write, "write_onnx", write_another)
    found = exported["gpt2"]
    with pytest.raises(BundleError, match=r"the ONNX graph's scores differ from the model's by up to \d\.\d+, 1e-05"):
        export(tmp_path / "bundle", found.model, found.settings, forms=["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_before_anything_is_done(
    exported: dict[str, Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "find_spec", lambda name: None)
    found = exported["gpt2"]
    with pytest.raises(MissingExtraError, match=r"(?s)`index` needs the package `faiss`.*seqrec\[serving\]"):
        export(tmp_path / "bundle", found.model, found.settings, forms=["index"])
    assert list(tmp_path.iterdir()) == []


def test_models_that_a_graph_does_not_hold() -> None:
    sizes: dict[str, Any] = {"n_items": N_ITEMS, "max_length": MAX_LENGTH, "total_steps": 9}
    plain = {"backbone": {"kind": "gpt2", "layers": 1, "width": 16}, "items": {"width": 16}}
    slates = ModelSettings.model_validate(plain | {"head": {"kind": "slate", "size": 3}})
    with pytest.raises(BundleError, match="does not rank by products of a user's vector"):
        write.check_forms(build_model(slates, **sizes), ["onnx"], merge=False)
    reading = ModelSettings.model_validate(plain | {"events": {"action_types": True}})
    model = build_model(reading, actions=["view", "buy"], **sizes)
    with pytest.raises(BundleError, match="the model reads actions, and forms take items only"):
        write.check_forms(model, ["index"], merge=False)
    write.check_forms(model, [], merge=False)


def test_the_cards_code_runs_as_it_is(exported: dict[str, Exported], tmp_path: Path, quick: None) -> None:
    found = exported["lora"]
    path = export(tmp_path / "bundle", found.model, found.settings, forms=PRODUCTS, held_out=held_out())
    card = (path / "README.md").read_text()
    assert card.count("| `onnx/") == 2
    slate = run_card(path)
    assert slate[0] == ITEM_IDS[int(found.scores[0].argmax())]
    assert len(slate) == 10


def test_shares_and_gains_by_hand() -> None:
    found, expected = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[3, 2, 9], [7, 8, 9]])
    assert same_top(found, expected) == pytest.approx(2 / 6)
    assert ndcg(found, [torch.tensor([2]), torch.tensor([7])]) == pytest.approx(1 / np.log2(3) / 2)
    assert ndcg(found[:0], []) is None


def test_forms_by_name() -> None:
    assert parse_forms("index, onnx,onnx") == ("onnx", "index")
    assert parse_forms("") == ()
    with pytest.raises(UnsupportedError, match=r"(?s)no form is called `onxx`.*known: onnx, int8, index"):
        parse_forms("onxx")
