"""Times and actions of events, from the store through training to a bundle's recommendations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from seqrec.bulk import recommend_all
from seqrec.evaluation import evaluate
from seqrec.recipe import export_run, fit, open_trained, parse_recipe
from seqrec.serving import Recommendation


@pytest.mark.parametrize(
    ("backbone", "buckets"), [({"kind": "hstu", "time_bias": 16}, None), ({"kind": "gpt2"}, [8, 20])]
)
def test_what_events_carry_reaches_every_score(
    recipe_values: dict[str, Any], tmp_path: Path, backbone: dict[str, Any], buckets: list[int] | None
) -> None:
    model = recipe_values["model"] | {"events": {"action_types": True, "time_gaps": 24}}
    model["backbone"] = {"layers": 1, "heads": 2, "width": 16, "dropout": 0.1} | backbone
    data = recipe_values["data"] | {"length_buckets": buckets}
    run = fit(parse_recipe(recipe_values | {"model": model, "data": data}, where="test"), runs=tmp_path)
    trained = open_trained(run.folder)
    users = list(trained.data.store.user_ids())[:5]
    histories = trained.histories(users)
    slates = trained.recommender().recommend(histories, k=5)

    recommend_all(trained.model, trained.data, tmp_path / "lists", k=5)
    rows = {row["user_id"]: row for row in pq.read_table(tmp_path / "lists" / "part-00000.parquet").to_pylist()}
    for user, slate in zip(users, slates, strict=True):
        assert rows[user]["items"] == [one.item_id for one in slate]
        assert rows[user]["scores"] == pytest.approx([one.score for one in slate], abs=1e-5)
    assert evaluate(trained.model, trained.data) is not None

    if buckets is None:
        export_run(run, tmp_path / "bundle")  # which compares scores in a fresh process
        bundle = open_trained(tmp_path / "bundle").recommender()
        for found, expected in zip(scores(bundle.recommend(histories, k=5)), scores(slates), strict=True):
            assert found == pytest.approx(expected, abs=1e-5)
        card = (tmp_path / "bundle" / "README.md").read_text()
        assert "from seqrec.export import History, load_bundle" in card
        assert "without seqrec" not in card

    history = histories[0]
    assert history.times is not None
    assert history.actions is not None
    later = replace(history, times=[*history.times[:-1], history.times[-1] + 40 * 86_400_000_000])
    bought = replace(history, actions=["purchase"] * len(history.items))
    for changed in (later, bought):
        assert scores(trained.recommender().recommend([changed], k=5)) != scores(slates[:1])


def scores(slates: list[list[Recommendation]]) -> list[dict[str, float]]:
    return [{one.item_id: one.score for one in slate} for slate in slates]
