from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from seqrec.errors import MetricError, UnsupportedError
from seqrec.evaluation import OutcomeHistogram, evaluate, evaluation_table
from seqrec.evaluation.outcome_metrics import Predictions, outcome_metrics
from seqrec.recipe import Run, compare_runs, evaluate_run, export_run, fit, fit_seeds, open_trained, parse_recipe

HEAD = {
    "kind": "outcome",
    "of_actions": ["browse"],
    "outcomes": {
        "taken": {"kind": "action", "actions": ["cart", "purchase"], "within_hours": 48},
        "bought": {"kind": "action", "actions": ["purchase"], "within_hours": 48},
    },
}
SPLIT = {"kind": "temporal", "validation_from": 0.6, "test_from": 0.8, "seen": "allow"}


@pytest.fixture(scope="module")
def run(shop_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A trained one."""
    values = {
        "name": "outcome",
        "seed": 1,
        "data": {"store": str(shop_store), "split": SPLIT, "max_length": 20, "step_tokens": 512},
        "model": {
            "items": {"width": 8},
            "events": {"action_types": True},
            "backbone": {"kind": "gpt2", "layers": 1, "heads": 2, "width": 8, "dropout": 0.1},
            "head": HEAD,
        },
        "optimizer": {"kind": "adam", "lr": 0.01},
        "selection": {"metric": "auc"},
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "log_every_n_steps": 1},
    }
    return fit(parse_recipe(values, where="test"), runs=tmp_path_factory.mktemp("runs"))


def test_a_histogram_gives_the_auc_of_each_outcome() -> None:
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 16, 500), rng.normal(size=(500, 2)).round(1)
    metric = OutcomeHistogram(("a", "b"))
    for some in (slice(0, 100), slice(100, 500)):
        metric.update(torch.from_numpy(labels[some]), torch.from_numpy(logits[some]).float())
    found = metric.compute()
    for number, name in enumerate("ab"):
        known = labels >> 2 * number & 1 == 1
        positive = labels[known] >> 2 * number + 1 & 1 == 1
        probabilities = 1 / (1 + np.exp(-logits[known, number]))
        exact = outcome_metrics(Predictions(np.arange(len(positive)), probabilities, positive), replicates=1)["auc"]
        assert float(found[f"auc/{name}"]) == pytest.approx(exact.value, abs=1e-3)
    assert float(found["auc"]) == pytest.approx((float(found["auc/a"]) + float(found["auc/b"])) / 2)


def test_a_run_is_chosen_by_its_auc_and_evaluated_beside_counting(run: Run) -> None:
    assert run.result is not None
    assert list(run.result["best"]) == ["val/auc"]
    result = evaluate(run.model, run.data)
    assert result is not None
    names = [f"{metric}/{name}" for name in ("taken", "bought") for metric in ("auc", "user_auc", "log_loss", "ece")]
    assert list(result.model) == names
    assert set(result.baselines) == {"item_rate", "user_rate"}
    values = result.to_dict()
    assert values["counts"]["users_evaluated"] > 10
    for name in ("taken", "bought"):
        bins, rate = values["reliability"][name], values["rates"][name]
        assert sum(one["events"] * one["observed"] for one in bins) / sum(
            one["events"] for one in bins
        ) == pytest.approx(rate)
    assert evaluation_table(result)
    diversifier = open_trained(run.folder).diversifier("mmr:0.7")
    with pytest.raises(UnsupportedError, match="--diversify: the head `outcome` is judged by single events"):
        evaluate(run.model, run.data, diversifier=diversifier)


def test_a_run_keeps_its_metrics_and_is_not_compared_by_ranks(run: Run) -> None:
    result = evaluate_run(run, "test", accelerator="cpu")
    assert result is not None
    written = json.loads(run.evaluation_file("test").read_text())
    assert written["model"]["auc/taken"] == result.model["auc/taken"].value
    assert not run.user_ranks_file("test").exists()
    for compared in (lambda: compare_runs([run.folder]), lambda: fit_seeds(run.recipe, [1, 2])):
        with pytest.raises(UnsupportedError, match="an outcome is judged event by event"):
            compared()


def test_items_are_compared_without_the_constant_that_scores_have(run: Run) -> None:
    similarity = open_trained(run.folder).diversifier("mmr:0.7").similarity
    vectors = run.model.items.vectors()
    items = torch.arange(1, len(vectors) + 1)[None]
    unit = torch.nn.functional.normalize(vectors, dim=1)
    torch.testing.assert_close(similarity.between(items, items)[0], unit @ unit.T)


def test_logits_that_are_no_numbers_are_an_error(run: Run) -> None:
    model = copy.deepcopy(run.model)
    with torch.no_grad():
        model.items.weight.fill_(torch.nan)
    with pytest.raises(MetricError, match="logits are NaN"):
        evaluate(model, run.data)


def test_it_recommends_from_a_bundle(run: Run, tmp_path: Path) -> None:
    trained = open_trained(export_run(run, tmp_path / "bundle"))
    assert trained.recommender().recommend([[]], 3)[0][0].fallback == "popular"
    assert trained.model.outcomes == ("taken", "bought")
