from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_auroc, binary_calibration_error

from seqrec.errors import MetricError
from seqrec.evaluation.outcome_metrics import Predictions, outcome_metrics, reliability


def some(n: int = 400, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    probabilities = np.round(rng.random(n), 2) * 0.98 + 0.0051  # with ties, and none on the bounds of bins
    return Predictions(rng.integers(0, 30, n), probabilities, rng.random(n) < probabilities)


def auc_by_pairs(probabilities: np.ndarray, positive: np.ndarray) -> float:
    won, lost = probabilities[positive][:, None], probabilities[~positive][None]
    return float(((won > lost) + (won == lost) / 2).mean())


def test_metrics_are_those_of_pairs_and_of_torchmetrics() -> None:
    found = some()
    values = outcome_metrics(found)
    scores, labels = torch.from_numpy(found.probabilities), torch.from_numpy(found.positive).long()
    assert values["auc"].value == pytest.approx(auc_by_pairs(found.probabilities, found.positive))
    assert values["auc"].value == pytest.approx(float(binary_auroc(scores, labels)), abs=1e-6)
    assert values["ece"].value == pytest.approx(float(binary_calibration_error(scores, labels, n_bins=10)), abs=1e-6)
    expected = torch.nn.functional.binary_cross_entropy(scores.clamp(1e-7, 1 - 1e-7), labels.double())
    assert values["log_loss"].value == pytest.approx(float(expected))
    aucs = []
    for user in range(30):
        own = found.users == user
        if 0 < found.positive[own].sum() < own.sum():
            aucs.append(auc_by_pairs(found.probabilities[own], found.positive[own]))
    assert values["user_auc"].value == pytest.approx(np.mean(aucs))
    for value in values.values():
        assert value.low < value.value < value.high or value is values["ece"]


def test_the_order_of_events_changes_nothing() -> None:
    found, order = some(), np.random.default_rng(1).permutation(400)
    other = Predictions(found.users[order], found.probabilities[order], found.positive[order])
    for one, two in zip(outcome_metrics(found).values(), outcome_metrics(other).values(), strict=True):
        assert one.value == pytest.approx(two.value, abs=1e-12)


def test_an_interval_is_over_users_and_not_over_events() -> None:
    one = some()
    many = Predictions(np.tile(one.users, 9), np.tile(one.probabilities, 9), np.tile(one.positive, 9))
    first, same = outcome_metrics(one)["auc"], outcome_metrics(many)["auc"]
    assert (same.value, same.low, same.high) == pytest.approx((first.value, first.low, first.high))


def test_reliability_by_hand() -> None:
    found = Predictions(np.arange(4), np.array([0.05, 0.95, 1.0, 0.07]), np.array([False, True, True, True]))
    low, high = reliability(found)
    assert low == pytest.approx((0.0, 0.1, 2, 0.06, 0.5))
    assert high == pytest.approx((0.9, 1.0, 2, 0.975, 1.0))


def test_nothing_to_tell_apart_and_nan_are_errors() -> None:
    with pytest.raises(MetricError, match="of 2 labelled events 2 came about"):
        outcome_metrics(Predictions(np.arange(2), np.full(2, 0.5), np.ones(2, np.bool_)))
    with pytest.raises(MetricError, match="1 of 2 probabilities are NaN"):
        outcome_metrics(Predictions(np.arange(2), np.array([0.5, np.nan]), np.array([True, False])))
