"""The outcome head beside logistic regression and gradient boosting on features made by hand.

    SEQREC_DATA=… python benchmarks/outcome.py

Trains recipes/deskdrop-outcome.yaml, ml-100k-outcome.yaml, and the latter with attributes of users and as text, with
each seed, chooses the checkpoint on validation, and writes benchmarks/results/outcome-RECIPE.json: test metrics of the
model, of counting, and of both classifiers on the same events.

Features are made of what was known at one moment, and rows are later events: to train, what was known at 60 % of the
log, and the events up to the validation cut; to test, what was known at the validation cut, and the test's events. So a
row's own outcome is in none of its features. Gradient boosting has scikit-learn's defaults; so has logistic regression,
on standardised features.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import torch
from harness import RECIPES, write_result
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from seqrec.evaluation import ItemKNN, Predictions, evaluate_outcomes, outcome_metrics
from seqrec.models import OutcomeModel
from seqrec.outcomes import is_known, is_positive
from seqrec.ranking import ItemLists
from seqrec.recipe import Run, fit, load_recipe
from seqrec.store import Sequences
from seqrec.store.split import Temporal
from seqrec.stream import SequenceDataModule
from seqrec.stream.collate import flatten

NAMES = ("deskdrop-outcome", "ml-100k-outcome", "ml-100k-outcome-users", "ml-100k-outcome-text")
KNOWN_AT = 60  # per cent of the log, for the features of training rows
PRIOR = 20  # events at the overall rate that a rate is smoothed with
HISTORY = 50  # latest events that a candidate is compared with
COLUMNS = (
    "item's rate", "user's rate", "item's events", "history length", "hours since the event before",
    "times seen before", "similarity to the history",
)  # fmt: skip


class Rows(NamedTuple):
    """Labelled events: features (n, 7), store rows of users (n,), and whether the outcome came about (n,)."""

    features: np.ndarray
    users: np.ndarray
    positive: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as `seqrec fit` takes them, for all runs")
    parser.add_argument("--only", choices=NAMES, nargs="+", default=NAMES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    for name in arguments.only:
        seeds = []
        for seed in arguments.seeds:
            overrides = [*arguments.overrides, f"seed={seed}", f"name={name}-seed{seed}"]
            run = fit(load_recipe(RECIPES / f"{name}.yaml", overrides), runs=arguments.runs)
            seeds.append(measure(run) | {"seed": seed})
            print(name, seed, seeds[-1]["test"]["model"], flush=True)
        baselines = classifiers(run.data, next(iter(run.recipe.model.head.outcomes)))
        print(name, baselines, flush=True)
        names = seeds[0]["test"]["model"]
        metrics = {metric: mean(seed["test"]["model"][metric] for seed in seeds) for metric in names}
        settings = run.recipe.model_dump(mode="json", exclude={"seed", "name"})
        figures = {"mean_test": metrics, "seeds": seeds, "classifiers": baselines, "settings": settings}
        print(write_result(f"outcome-{name.replace('-outcome', '')}", figures))


def measure(run: Run) -> dict[str, Any]:
    """Test metrics of a finished run, with what training took."""
    assert isinstance(run.model, OutcomeModel)
    result = evaluate_outcomes(run.model, run.data)
    assert result is not None
    assert run.result is not None
    training = {key: run.result[key] for key in ("steps", "epochs", "training_seconds", "best")}
    return {"training": training, "parameters": run.result["parameters"], "test": result.to_dict()}


def classifiers(data: SequenceDataModule, outcome: str) -> dict[str, Any]:
    """Both classifiers' test metrics."""
    split, percentiles = data.split, data.store.manifest.time_percentiles
    assert isinstance(split, Temporal)
    assert percentiles is not None
    early = percentiles[KNOWN_AT]
    train = rows(data, outcome, known_at=early, start=early, stop=split.validation_cut_us)
    test = rows(data, outcome, known_at=split.validation_cut_us, start=split.test_cut_us, stop=percentiles[-1])
    models = {
        "logistic_regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "gradient_boosting": HistGradientBoostingClassifier(random_state=0),
    }
    found: dict[str, Any] = {"rows": {"train": len(train.positive), "test": len(test.positive)}, "features": COLUMNS}
    for name, model in models.items():
        model.fit(train.features, train.positive)
        probabilities = model.predict_proba(test.features)[:, 1].astype(np.float64)
        metrics = outcome_metrics(Predictions(test.users, probabilities, test.positive))
        found[name] = {metric: [m.value, m.low, m.high] for metric, m in metrics.items()}
    return found


def rows(data: SequenceDataModule, outcome: str, *, known_at: int, start: int, stop: int) -> Rows:
    """The labelled events of a span of time, with features of what was known at a moment before it."""
    labeller = data.labeller
    assert labeller is not None
    number = labeller.outcomes.index(outcome)
    (sequences,) = data.store.scan(tuple(dict.fromkeys((*data.split.columns, *labeller.columns))))
    labels = labeller(sequences, stop)
    position = np.arange(len(sequences.items)) - np.repeat(sequences.offsets[:-1], sequences.lengths)
    times = sequences.timestamps
    assert times is not None
    wanted = np.flatnonzero(is_known(labels, number).astype(bool) & (times > start) & (position > 0))
    user = sequences.row_of_event()
    items = sequences.items[wanted]
    before = labeller(sequences, known_at)
    item_rate = _rates(before, number, sequences.items, data.store.manifest.counts.items + 1)
    user_rate = _rates(before, number, user, len(sequences))
    popularity = np.bincount(sequences.items[times <= known_at], minlength=data.store.manifest.counts.items + 1)
    features = [
        item_rate[items],
        user_rate[user[wanted]],
        np.log1p(popularity[items]),
        np.log1p(position[wanted]),
        np.log1p((times[wanted] - times[wanted - 1]) / 3.6e9),
        np.log1p(_times_before(sequences)[wanted]),
        _similarities(data, sequences, known_at, wanted, position),
    ]
    positive = is_positive(labels[wanted], number).astype(bool)
    return Rows(np.stack(features, axis=1), sequences.rows[user[wanted]], positive)


def _rates(labels: np.ndarray, number: int, groups: np.ndarray, n: int) -> np.ndarray:
    known = np.bincount(groups, is_known(labels, number), minlength=n)
    positive = np.bincount(groups, is_positive(labels, number), minlength=n)
    return (positive + PRIOR * positive.sum() / known.sum()) / (known + PRIOR)


def _times_before(sequences: Sequences) -> np.ndarray:
    """How often the user has had an event of the item before."""
    keys = sequences.row_of_event() * (int(sequences.items.max()) + 1) + sequences.items
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begin = np.searchsorted(ordered, ordered)
    found = np.empty(len(keys), np.int64)
    found[order] = np.arange(len(keys)) - begin
    return found


def _similarities(
    data: SequenceDataModule, sequences: Sequences, known_at: int, wanted: np.ndarray, position: np.ndarray
) -> np.ndarray:
    """ItemKNN's score of each event's item after the events before it."""
    assert sequences.timestamps is not None
    known = np.add.reduceat(np.append(sequences.timestamps <= known_at, 0), sequences.offsets[:-1])
    offsets, items = flatten(sequences.items, sequences.offsets[:-1], known * (sequences.lengths > 0))
    n_items = data.store.manifest.counts.items
    knn = ItemKNN.fit([Sequences(sequences.rows, offsets, items.astype(np.int32))], n_items)
    user = sequences.row_of_event()
    found = []
    for at in range(0, len(wanted), 1024):
        events = wanted[at : at + 1024]
        lengths = np.minimum(position[events], HISTORY)
        histories = ItemLists(*map(torch.from_numpy, flatten(sequences.items, events - lengths, lengths)))
        scores = knn.scorer(histories, sequences.rows[user[events]])(0, n_items)
        found.append(scores[sequences.items[events] - 1, np.arange(len(events))].numpy() / lengths)
    return np.concatenate(found)


if __name__ == "__main__":
    main()
