"""An evaluation for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from seqrec.evaluation.results import EvaluationResult, MetricValue, UserCounts

_DECIMALS = {"popularity": 1}  # events; all else are shares and take four


def evaluation_table(result: EvaluationResult) -> RenderableType:
    """The model beside the baselines, one metric a row, with intervals; protocol and counts below."""
    columns = {"model": result.model, **result.baselines}
    table = Table(caption="value [95 % interval over users]", caption_justify="left")
    table.add_column("metric")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    previous = next(iter(result.model), "").partition("@")[0]
    for metric in result.model:
        family = metric.partition("@")[0]
        if family != previous:
            table.add_section()
        previous = family
        table.add_row(metric, *(_cell(metric, metrics) for metrics in columns.values()))
    protocol = ", ".join(f"{name} {value}" for name, value in result.protocol.items())
    return Group(table, Text(f"protocol  {protocol}"), *map(Text, _counts(result.counts)))


def _cell(metric: str, metrics: Mapping[str, MetricValue]) -> Text:
    if metric not in metrics:
        return Text("-")
    value = metrics[metric]
    places = _DECIMALS.get(metric.partition("@")[0], 4)
    # Text, not markup: square brackets would be read as a style
    return Text(f"{value.value:,.{places}f} [{value.low:,.{places}f}, {value.high:,.{places}f}]")


def _counts(counts: UserCounts) -> list[str]:
    out = sum(counts.left_out.values())
    reasons = "; ".join(f"{users:,} {reason}" for reason, users in counts.left_out.items() if users)
    return [
        f"users     {counts.evaluated:,} evaluated, {out:,} left out" + (f" ({reasons})" if reasons else ""),
        f"cold      {counts.cold_targets:,} targets have no event in training, and count as they rank",
    ]
