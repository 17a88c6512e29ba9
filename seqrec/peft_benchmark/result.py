"""What a benchmark of methods has found, and what it advises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any

from pydantic import Field
from scipy.stats import kendalltau

from seqrec.errors import RunError
from seqrec.evaluation import Group
from seqrec.evaluation.results import MetricValue
from seqrec.peft_benchmark.experiments import Experiment
from seqrec.recipe import write_text
from seqrec.settings import Settings
from seqrec.versions import versions

NEAR = 0.95  # of the best validation metric: the quality to which time is taken


class Interval(Settings):
    """A value with its 95 % interval over users."""

    value: float = Field(description="Mean over seeds.")
    low: float = Field(description="Lower end.")
    high: float = Field(description="Upper end.")


class ExperimentResult(Settings):
    """One method at one budget; means over seeds."""

    name: str = Field(description="Of the experiment.")
    method: str = Field(description="Of fine-tuning.")
    size: int = Field(description="Rank, bottleneck, block or virtual tokens; 1 where the method has no size.")
    parameters: int = Field(description="Trainable ones in the backbone; item table, projections and head are apart.")
    others: int = Field(description="Trainable ones outside it, but for the item table: the same for all.")
    item_table: int = Field(description="Of the item table: the same for all.")
    lr: float = Field(description="Learning rate with the best validation.")
    search: dict[str, float | None] = Field(description="Validation by learning rate; null: the loss was not finite.")
    validation: Interval = Field(description="The metric on validation.")
    test: Interval = Field(description="The metric on test.")
    test_of_seeds: list[float] = Field(description="On test, seed by seed.")
    validation_behind: Interval | None = Field(description="Difference from the best experiment; null for that one.")
    test_behind: Interval | None = Field(description="The same on test.")
    seconds: float = Field(description="Of training, start of the process included.")
    adapter_bytes: int = Field(description="Of what is learnt in the backbone, as it is handed over.")
    peak_memory_gib: float | None = Field(description="Of the training process.")
    tokens_per_second: float | None = Field(description="Events a second in training.")
    answer_ms: dict[str, float] = Field(description="Milliseconds for the vectors of 1 and 64 users, live and merged.")
    language: dict[str, float] | None = Field(description="What is left of the backbone's ability on titles.")
    curves: list[list[dict[str, float]]] = Field(description="Validation by seconds of training, seed by seed.")

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        *,
        validation: Group,
        test: Group,
        rows: Sequence[Mapping[str, Any]],
        search: Mapping[float, float | None],
    ) -> ExperimentResult:
        """From groups of compared runs and the rows of the same runs."""
        metric = experiment.recipe.selection.metric
        counts = test.runs[0].parameters
        own = experiment.parameters
        return cls(
            name=experiment.name,
            method=experiment.method,
            size=experiment.size,
            parameters=own,
            others=counts["trainable"] - own,
            item_table=counts["item_table"],
            lr=rows[0]["lr"],
            search={f"{rate:g}": value for rate, value in search.items()},
            validation=_interval(validation.metrics[metric]),
            test=_interval(test.metrics[metric]),
            test_of_seeds=[run.metrics[metric] for run in test.runs],
            validation_behind=_behind(validation, metric),
            test_behind=_behind(test, metric),
            seconds=mean(row["seconds"] for row in rows),
            adapter_bytes=rows[0]["costs"]["adapter_bytes"],
            peak_memory_gib=_mean([row["costs"]["peak_memory_gib"] for row in rows]),
            tokens_per_second=_mean([row["costs"]["tokens_per_second"] for row in rows]),
            answer_ms=rows[0]["costs"]["answer_ms"],
            language=rows[0]["language"],
            curves=[row["curve"] for row in rows],
        )

    @property
    def lr_at_edge(self) -> bool:
        """Whether the learning rate is the first or last of several that were tried: a better one may lie beyond."""
        rates = [float(rate) for rate in self.search]
        return len(rates) > 1 and self.lr in (min(rates), max(rates))

    def seconds_to(self, quality: float) -> float | None:
        """Mean seconds of training until the seeds' mean validation has reached a quality; None where it has not."""
        validations = zip(*self.curves, strict=False)  # one that was interrupted may have fewer
        reached = (points for points in validations if mean(p["value"] for p in points) >= quality)
        return next((mean(p["seconds"] for p in points) for points in reached), None)


class Protocol(Settings):
    """How all experiments were trained and judged."""

    recipe: str = Field(description="Name of the recipe.")
    metric: str = Field(description="What is measured.")
    epochs: int | None = Field(description="Of each training; null where steps or time limit it.")
    minutes: float | None = Field(None, description="That each training took by its speed, where that limited it.")
    seeds: list[int] = Field(description="Of the chosen runs; the search used the first.")
    learning_rates: list[float] = Field(description="Tried for each experiment.")
    users: int = Field(description="Evaluated on test.")
    seconds: float = Field(description="Of all trainings together.")
    left_out: dict[str, str] = Field(description="Methods that do not fit, and why.")
    versions: dict[str, str] = Field(default_factory=versions, description="Of what it ran on.")

    @property
    def length(self) -> str:
        """How long each training was, in words."""
        if self.minutes is not None:
            return f"{self.minutes:g} minutes a training, each method by its speed"
        return "the recipe's steps" if self.epochs is None else f"{self.epochs} epochs a training"


class BenchmarkResult(Settings):
    """All experiments, the best validation first."""

    protocol: Protocol = Field(description="How they were trained and judged.")
    experiments: list[ExperimentResult] = Field(description="By validation.")

    @property
    def advised(self) -> ExperimentResult:
        """Of those that validation does not tell from the best one, that with the fewest parameters."""
        alike = [e for e in self.experiments if e.validation_behind is None or e.validation_behind.high >= 0]
        return min(alike, key=lambda experiment: experiment.parameters)

    @property
    def advice(self) -> str:
        """One sentence with its evidence."""
        one, best, metric = self.advised, self.experiments[0], self.protocol.metric
        weighs = f"{one.parameters:,} parameters, {one.adapter_bytes / 2**20:.2f} MiB"
        if one is best:
            rest = "no method with fewer parameters is as good on validation"
        else:
            behind = one.validation_behind
            assert behind is not None  # not the best
            rest = (
                f"validation does not tell it from the best, `{best.name}` with {best.parameters:,} parameters "
                f"({behind.value:+.4f}, 95 % interval {behind.low:+.4f} to {behind.high:+.4f})"
            )
        return (
            f"Take `{one.name}` ({weighs}, learning rate {one.lr:g}): {metric} {one.test.value:.4f} on test "
            f"[{one.test.low:.4f}, {one.test.high:.4f}]; {rest}."
        )

    @property
    def agreement_of_seeds(self) -> float | None:
        """Mean Kendall's tau between the orders in which two seeds put the experiments on test; None for one seed."""
        orders = list(zip(*(experiment.test_of_seeds for experiment in self.experiments), strict=True))
        found = [float(kendalltau(one, other).statistic) for one, other in combinations(orders, 2)]
        return mean(found) if found and not any(map(math.isnan, found)) else None

    @property
    def quality(self) -> float:
        """The validation metric to which times are taken."""
        return NEAR * self.experiments[0].validation.value


def write_result(path: Path, result: BenchmarkResult) -> None:
    """Writes the result as JSON."""
    write_text(path, result.model_dump_json(indent=1) + "\n")


def read_result(folder: str | Path) -> BenchmarkResult:
    """The result of a finished benchmark.

    Raises:
        RunError: there is none yet.
    """
    file = Path(folder) / "result.json"
    if not file.is_file():
        raise RunError("no finished benchmark", where=str(folder), do="run `seqrec benchmark peft RECIPE --out FOLDER`")
    return BenchmarkResult.model_validate_json(file.read_bytes())


def _interval(found: MetricValue) -> Interval:
    low, high = found.low, found.high
    return Interval(
        value=found.value, low=found.value if low is None else low, high=found.value if high is None else high
    )


def _behind(group: Group, metric: str) -> Interval | None:
    if not group.differences:
        return None
    found = group.differences[metric]
    return Interval(value=found.value, low=found.low, high=found.high)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if len(known) == len(values) else None
