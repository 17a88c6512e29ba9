"""What an evaluation gives back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from seqrec.evaluation.slices import Slice


@dataclass(frozen=True)
class MetricValue:
    """A metric with its 95 % interval over users, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class PairedDifference:
    """How much better one is than the other on the same users, with its 95 % interval over users.

    Attributes:
        value, low, high: the difference of a metric; above 0 where the first is better.
        p_value: two-sided, that there is none.
    """

    value: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class UserCounts:
    """Whom the metrics are about.

    Attributes:
        evaluated: users with a target.
        left_out: users without one, by reason.
        cold_targets: evaluated users whose target has no event in training; of outcomes the events of such items. They
            count: a model that cannot know an item has missed it.
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
class SliceResult:
    """Metrics of some of the users.

    Attributes:
        which: the slice.
        users: how many of those evaluated, >= 1.
        rows: metrics by name of `model` and of each baseline.
    """

    which: Slice
    users: int
    rows: Mapping[str, Mapping[str, MetricValue]]

    def to_dict(self) -> dict[str, Any]:
        """JSON form: each metric as [value, low, high]."""
        rows = {
            name: {
                metric: [_known(one) for one in (value.value, value.low, value.high)]
                for metric, value in metrics.items()
            }
            for name, metrics in self.rows.items()
        }
        return {"by": self.which.by, "slice": self.which.label, "users": self.users, **rows}


@dataclass(frozen=True)
class EvaluationResult:
    """Metrics of a model and of the baselines on the same users.

    Attributes:
        protocol: what was measured, as JSON values: split, part, policy for seen items, …
        counts: users evaluated and left out.
        model: the model's metrics by name, as `ndcg@10`.
        baselines: the same of each baseline, by its name, as `item_knn`.
        slices: the same users by what they and their targets are.
        rank_of_user: for the model and each baseline uint8 (store's users,), as `Tally.rank_of_user`.
    """

    protocol: Mapping[str, Any]
    counts: UserCounts
    model: Mapping[str, MetricValue]
    baselines: Mapping[str, Mapping[str, MetricValue]]
    slices: tuple[SliceResult, ...] = ()
    rank_of_user: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON form: values under `model` and `baselines`, intervals apart, so that either is easy to read off.

        None is what nobody's events tell, as the AUC within users of whom none has both classes.
        """
        return {
            "protocol": dict(self.protocol),
            "counts": self.counts.to_dict(),
            "model": _values(self.model),
            "baselines": {name: _values(metrics) for name, metrics in self.baselines.items()},
            "intervals": {
                name: {
                    metric: [_known(value.low), _known(value.high)]
                    for metric, value in metrics.items()
                    if value.low is not None
                }
                for name, metrics in {"model": self.model, **self.baselines}.items()
            },
            "slices": [one.to_dict() for one in self.slices],
        }


def _values(metrics: Mapping[str, MetricValue]) -> dict[str, float | None]:
    return {name: _known(metric.value) for name, metric in metrics.items()}


def _known(value: float | None) -> float | None:
    """None in place of NaN, which JSON does not have."""
    return None if value is None or math.isnan(value) else value
