"""Semantic ids through the verbs: tokenize, fit, evaluate, recommend, bulk and export, on one small run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import seqrec.export.writer
from seqrec.bulk import recommend_all
from seqrec.errors import RecipeError, TokenizerError, UnsupportedError
from seqrec.evaluation import evaluate
from seqrec.export import load_bundle
from seqrec.export.verify import sample_scores
from seqrec.models import SemanticIds
from seqrec.recipe import Recipe, build, export_run, fit, open_trained, parse_recipe, tokenize
from seqrec.tokenize import REPORT_FILE


@pytest.fixture
def values(recipe_values: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    items = {"kind": "semantic_ids", "codes": str(tmp_path / "ids"), "width": 16}
    head = {"kind": "semantic_id", "beams": 12}
    return recipe_values | {
        "data": recipe_values["data"] | {"split": {"kind": "leave_one_out", "seen": "filter"}},
        "model": recipe_values["model"] | {"items": items, "head": head},
        "tokenizer": {
            "vectors": [{"kind": "co_occurrence", "width": 8}],
            "quantizer": {"kind": "rq_kmeans", "levels": 2, "codes": 12},
        },
    }


def recipe(values: dict[str, Any], **sections: Any) -> Recipe:
    return parse_recipe(values | sections, where="test")


def test_ids_go_through_every_verb(values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fit(recipe(values), runs=tmp_path)  # makes the ids, which are missing
    facts = json.loads((tmp_path / "ids" / REPORT_FILE).read_text())
    assert facts["report"]["items"] == 60
    assert facts["trained_on"] is not None
    assert len(SemanticIds.read(tmp_path / "ids").codes) == 60
    assert run.result is not None
    assert run.result["parameters"]["item_table"] == 2 * 12 * 16
    assert run.result["best"].keys() == {"val/ndcg@10"}

    result = evaluate(run.model, run.data)
    assert result is not None
    assert result.protocol["list_limit"] == 12
    assert {name.partition("@")[2] for name in result.model} == {"5", "10"}  # 20 is beyond the lists
    assert result.model.keys() == result.baselines["popular"].keys()

    users = list(run.data.store.user_ids())
    histories = run.data.store.histories(users)
    catalogue = run.data.store.catalogue
    known = [catalogue.decode(histories[user]) for user in users]
    recommender = open_trained(run.folder).recommender()
    slates = recommender.recommend(known, k=12)
    for history, slate in zip(known, slates, strict=True):
        named = [one.item_id for one in slate]
        assert len(set(named)) == len(named) == min(12, 60 - len(set(history)))
        assert not set(named) & set(history)
    with pytest.raises(UnsupportedError, match="lists of 13 items are asked for, and the model generates 12 at most"):
        recommender.recommend(known[:1], k=13)

    recommend_all(run.model, run.data, tmp_path / "lists", k=12)
    rows = [row for part in sorted((tmp_path / "lists").glob("part-*")) for row in pq.read_table(part).to_pylist()]
    assert [row["items"] for row in rows] == [[one.item_id for one in slate] for slate in slates]

    monkeypatch.setattr(seqrec.export.writer, "scores_in_fresh_process", lambda path: sample_scores(load_bundle(path)))
    bundle = export_run(run, tmp_path / "bundle")
    (tmp_path / "ids").rename(tmp_path / "moved")  # a bundle has them itself
    for slate, other in zip(slates, open_trained(bundle).recommender().recommend(known[:5], k=12), strict=False):
        assert [one.item_id for one in other] == [one.item_id for one in slate]
        assert [one.score for one in other] == pytest.approx([one.score for one in slate], abs=1e-5)
    assert "Lists of items that exist take a search" in (bundle / "README.md").read_text()


def test_ids_by_text_know_nothing_of_a_split(values: dict[str, Any], tmp_path: Path) -> None:
    text = {"kind": "text", "template": "{title} ({category})", "max_tokens": 8}
    wrong = text | {"template": "{titel}"}
    tokenize(recipe(values, tokenizer=values["tokenizer"] | {"vectors": [text]}))
    assert json.loads((tmp_path / "ids" / REPORT_FILE).read_text())["trained_on"] is None
    with pytest.raises(RecipeError, match=r"(?s)tokenizer\.vectors: template: .*did you mean `title`"):
        tokenize(recipe(values, tokenizer=values["tokenizer"] | {"vectors": [wrong]}), fresh=True)


def test_ids_of_another_split_or_catalogue_are_refused(values: dict[str, Any], tmp_path: Path) -> None:
    tokenize(recipe(values))
    with pytest.raises(TokenizerError, match=r"(?s)there are semantic ids already.*--fresh"):
        tokenize(recipe(values))
    before = SemanticIds.read(tmp_path / "ids").codes
    tokenize(recipe(values), fresh=True)
    assert before.equal(SemanticIds.read(tmp_path / "ids").codes)
    other = values["data"] | {"split": {"kind": "leave_one_out", "validation_users": 10}}
    with pytest.raises(TokenizerError, match="another split's training events"):
        build(recipe(values, data=other), tmp_path / "run")
    facts = tmp_path / "ids" / REPORT_FILE
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"catalogue": "of others"}))
    with pytest.raises(TokenizerError, match="ids are of another catalogue"):
        build(recipe(values), tmp_path / "run")


def test_parts_that_do_not_go_together_are_refused(
    values: dict[str, Any], recipe_values: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(TokenizerError, match=r"(?s)no semantic ids can be read.*seqrec tokenize"):
        build(recipe(values), tmp_path / "run")
    with pytest.raises(RecipeError, match="does not say how to make semantic ids"):
        tokenize(recipe(values, tokenizer=None))
    with pytest.raises(RecipeError, match="does not name items by semantic ids"):
        tokenize(recipe(recipe_values, tokenizer=values["tokenizer"]))
    tokenize(recipe(values))
    for model, message in (
        ({"head": {"kind": "next_item"}}, "head `next_item` does not go with items `semantic_ids`"),
        ({"loss": {"kind": "bce"}}, "no negatives are drawn"),
        ({"head": {"kind": "semantic_id", "beams": 7}}, r"selection\.metric: lists of 10 items"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            build(recipe(values, model=values["model"] | model), tmp_path / "run")
