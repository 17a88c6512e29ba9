"""Runs that were evaluated on the same users, side by side: those that differ in their seed alone as one group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt

from seqrec.evaluation.paired import group_metrics, paired_differences
from seqrec.evaluation.results import MetricValue, PairedDifference


@dataclass(frozen=True)
class ComparedRun:
    """One run.

    Attributes:
        name: of the run folder.
        seed: of its recipe.
        metrics: of its evaluation, by name.
        ranks: uint8 (U,), of each user's target from 0, 255 for a miss.
        seconds: that training took.
        epochs: that it trained.
        parameters: numbers of parameters by kind.
    """

    name: str
    seed: int
    metrics: Mapping[str, float]
    ranks: npt.NDArray[np.uint8]
    seconds: float
    epochs: int
    parameters: Mapping[str, int]


@dataclass(frozen=True)
class Group:
    """Runs of one recipe.

    Attributes:
        name: what the runs' names begin with.
        runs: at least one.
        metrics: means over the runs; those from target ranks with intervals over users.
        spread: standard deviations over the runs' seeds; empty for a single run.
        changes: fields of the recipe that differ from the first group's, as `path: old → new`.
        differences: from the first group, on the same users; empty for that itself.
    """

    name: str
    runs: tuple[ComparedRun, ...]
    metrics: Mapping[str, MetricValue]
    spread: Mapping[str, float]
    changes: tuple[str, ...] = ()
    differences: Mapping[str, PairedDifference] | None = None

    @property
    def seconds(self) -> float:
        """Mean time of training."""
        return mean(run.seconds for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "name": self.name,
            "runs": [
                {"name": run.name, "seed": run.seed, "seconds": run.seconds, "epochs": run.epochs,
                 "metrics": dict(run.metrics)}
                for run in self.runs
            ],
            "parameters": dict(self.runs[0].parameters),
            "seconds": self.seconds,
            "changes": list(self.changes),
            "metrics": {name: value.value for name, value in self.metrics.items()},
            "intervals": {n: [v.low, v.high] for n, v in self.metrics.items() if v.low is not None},
            "standard_deviation_over_seeds": dict(self.spread),
            "difference_from_first": {
                name: {"value": one.value, "interval": [one.low, one.high], "p_value": one.p_value}
                for name, one in (self.differences or {}).items()
            },
        }  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """All groups.

    Attributes:
        protocol: of all evaluations.
        users: evaluated.
        groups: in the order given; the first is what others are compared with.
    """

    protocol: Mapping[str, Any]
    users: int
    groups: tuple[Group, ...]

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that all groups have."""
        return [name for name in self.groups[0].metrics if all(name in group.metrics for group in self.groups)]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        groups = [group.to_dict() for group in self.groups]
        return {"protocol": dict(self.protocol), "users_evaluated": self.users, "groups": groups}


def make_group(
    name: str, runs: Sequence[ComparedRun], first: Sequence[ComparedRun] | None = None, changes: Sequence[str] = ()
) -> Group:
    """A group with its metrics.

    Args:
        name: what to call it.
        runs: its runs, at least one.
        first: those of the first group; None for that itself.
        changes: as `Group` has them.
    """
    shared = [metric for metric in runs[0].metrics if all(metric in run.metrics for run in runs)]
    values = {metric: [run.metrics[metric] for run in runs] for metric in shared}
    ranks = [run.ranks for run in runs]
    means = {metric: MetricValue(mean(found)) for metric, found in values.items()}
    with_intervals = group_metrics(ranks)
    differences = None if first is None else paired_differences(ranks, [run.ranks for run in first])
    # ranks beyond a list's end are not known, and a cutoff beyond it is no metric of its run
    known = [metric for metric in means if all(metric in run.metrics for run in first or ())]
    return Group(
        name=name,
        runs=tuple(runs),
        metrics={metric: with_intervals.get(metric, value) for metric, value in means.items()},
        spread={metric: stdev(found) for metric, found in values.items()} if len(runs) > 1 else {},
        changes=tuple(changes),
        differences=None if differences is None else {m: d for m, d in differences.items() if m in known},
    )
