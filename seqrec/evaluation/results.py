"""What an evaluation gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MetricValue:
    """A metric with its 95 % interval over users."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class UserCounts:
    """Whom the metrics are about.

    Attributes:
        evaluated: users with a target.
        left_out: users without one, by reason.
        cold_targets: evaluated users whose target has no event in training. They count: a model that cannot know an
            item has missed it.
    """

    evaluated: int
    left_out: Mapping[str, int]
    cold_targets: int

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "users_evaluated": self.evaluated,
            "users_left_out": dict(self.left_out),
            "cold_targets": self.cold_targets,
        }


@dataclass(frozen=True)
class EvaluationResult:
    """Metrics of a model and of the baselines on the same users.

    Attributes:
        protocol: what was measured, as JSON values: split, part, policy for seen items, …
        counts: users evaluated and left out.
        model: the model's metrics by name, as `ndcg@10`.
        baselines: the same of each baseline, by its name, as `item_knn`.
    """

    protocol: Mapping[str, Any]
    counts: UserCounts
    model: Mapping[str, MetricValue]
    baselines: Mapping[str, Mapping[str, MetricValue]]

    def to_dict(self) -> dict[str, Any]:
        """JSON form: values under `model` and `baselines`, intervals apart, so that either is easy to read off."""
        return {
            "protocol": dict(self.protocol),
            "counts": self.counts.to_dict(),
            "model": _values(self.model),
            "baselines": {name: _values(metrics) for name, metrics in self.baselines.items()},
            "intervals": {
                name: {metric: [value.low, value.high] for metric, value in metrics.items()}
                for name, metrics in {"model": self.model, **self.baselines}.items()
            },
        }


def _values(metrics: Mapping[str, MetricValue]) -> dict[str, float]:
    return {name: metric.value for name, metric in metrics.items()}
