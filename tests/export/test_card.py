from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from export.conftest import HISTORIES, MAX_LENGTH, N_ITEMS, build, encoded, export
from seqrec.export.scoring import history_scores
from seqrec.models import ModelSettings, SequenceModel, build_model


def test_metrics_stand_beside_the_baselines(tmp_path: Path, quick: None) -> None:
    model, settings = build("gpt2")
    metrics = {
        "protocol": {"kind": "leave_one_out"},
        "model": {"ndcg@10": 0.05432, "hr@10": 0.1},
        "baselines": {"popular": {"ndcg@10": 0.01}, "item_knn": {"ndcg@10": 0.04, "hr@10": 0.0812}},
    }
    card = (export(tmp_path / "shop", model, settings, metrics=metrics) / "README.md").read_text()
    assert "# shop\n" in card
    assert "`items.mask`: vector of the mask token" in card
    assert 'Protocol: `{"kind": "leave_one_out"}`' in card
    assert (
        "| | model | popular | item_knn |\n|---|---:|---:|---:|\n"
        "| ndcg@10 | 0.0543 | 0.0100 | 0.0400 |\n| hr@10 | 0.1000 |  | 0.0812 |\n"
    ) in card
    assert "{" not in card.split("## Loading")[0].replace('{"kind": "leave_one_out"}', "")


def test_ids_in_code_are_escaped(tmp_path: Path, quick: None) -> None:
    model, settings = build("gpt2")
    ids = ['a"b', "naïve", *(str(i) for i in range(38))]
    path = export(tmp_path / "bundle", model, settings, item_ids=ids, sample_histories=[ids[:2], ["5"], ["6"]])
    assert 'recommend([["a\\"b", "naïve"]], k=10)' in (path / "README.md").read_text()


def test_what_nobody_told_is_left_empty(tmp_path: Path, quick: None) -> None:
    model, settings = build("gpt2")
    metrics = {"model": {"auc": 0.61, "user_auc": None}, "baselines": {"item_rate": {"auc": 0.5, "user_auc": None}}}
    card = (export(tmp_path / "shop", model, settings, metrics=metrics) / "README.md").read_text()
    assert "| auc | 0.6100 | 0.5000 |\n| user_auc |  |  |\n" in card


def test_code_for_cosines_gives_the_model_s_scores(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, settings = made(scores={"kind": "cosine", "temperature": 0.2})
    path = export(tmp_path / "shop", model, settings)
    monkeypatch.chdir(path)
    code = (path / "README.md").read_text().split("```python\n")[2].split("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    expected = history_scores(model, encoded(HISTORIES), max_length=MAX_LENGTH)[0]
    torch.testing.assert_close(names["scores"], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"head": {"kind": "slate", "size": 3, "decoder": "gru"}},
        {"head": {"kind": "outcome", "outcomes": {"dear": {"kind": "value", "least": 4}}}},
        {"backbone": {"kind": "smoothed_gpt2", "layers": 1, "heads": 2, "width": 16}},
    ],
)
def test_no_code_is_given_for_what_only_seqrec_reads(changes: dict[str, Any], tmp_path: Path, quick: None) -> None:
    model, settings = made(**changes)
    assert "without seqrec" not in (export(tmp_path / "shop", model, settings) / "README.md").read_text()


def made(**changes: Any) -> tuple[SequenceModel, ModelSettings]:
    values = {"items": {"width": 16}, "backbone": {"kind": "gpt2", "layers": 1, "heads": 2, "width": 16}}
    settings = ModelSettings.model_validate(values | changes)
    torch.manual_seed(0)
    model = build_model(settings, n_items=N_ITEMS, max_length=MAX_LENGTH, total_steps=1).eval()
    assert isinstance(model, SequenceModel)
    return model, settings
