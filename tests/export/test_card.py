from __future__ import annotations

from pathlib import Path

from export.conftest import build, export


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
