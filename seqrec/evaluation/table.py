"""An evaluation, and a comparison of several, for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rich.console import Group as Together
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from seqrec.evaluation.comparison import Comparison, Group
from seqrec.evaluation.results import EvaluationResult, MetricValue, PairedDifference, UserCounts

_DECIMALS = {"popularity": 1}  # events; all else are shares or bits and take four
_SLICED = "ndcg@10"


def evaluation_table(result: EvaluationResult) -> RenderableType:
    """The model beside the baselines, one metric a row, with intervals; slices, protocol and counts below."""
    columns = {"model": result.model, **result.baselines}
    table = Table(caption="value [95 % interval over users]", caption_justify="left")
    _add_metrics(table, list(result.model), {name: partial(_cell, metrics) for name, metrics in columns.items()})
    shown = [table, _slices(result, list(columns))] if result.slices else [table]
    return Together(*shown, Text(_protocol(result.protocol)), *map(Text, _counts(result.counts)))


def comparison_table(comparison: Comparison) -> RenderableType:
    """Groups of runs side by side, then how each differs from the first, then what they are and took."""
    groups = comparison.groups
    table = Table(caption="mean over seeds [95 % interval over users]", caption_justify="left")
    _add_metrics(table, comparison.metrics, {group.name: partial(_cell, group.metrics) for group in groups})
    shown: list[RenderableType] = [table]
    if len(groups) > 1:
        differences = Table(
            title=f"difference from {groups[0].name} on the same users",
            caption="difference [95 % interval over users], p-value of a paired bootstrap, not corrected for "
            "the number of comparisons",
            title_justify="left",
            caption_justify="left",
        )
        cells = {group.name: partial(_difference, group.differences or {}) for group in groups[1:]}
        _add_metrics(differences, list(groups[1].differences or {}), cells)
        shown.append(differences)
    facts = Table(title="runs", title_justify="left")
    for name in ("group", "seeds", f"sd of {_SLICED} over seeds", "parameters", "item table", "epochs", "min a run"):
        facts.add_column(name, justify="left" if name == "group" else "right")
    facts.add_column(f"other than {groups[0].name}")
    for group in groups:
        facts.add_row(*_facts(group))
    protocol = _protocol(comparison.protocol)
    return Together(*shown, facts, Text(protocol), Text(f"users     {comparison.users:,} evaluated"))


def _add_metrics(table: Table, metrics: list[str], columns: Mapping[str, Callable[[str], Text]]) -> None:
    """One metric a row, families apart; a column's cells are made from the metric."""
    table.add_column("metric")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    previous = next(iter(metrics), "").partition("@")[0]
    for metric in metrics:
        family = metric.partition("@")[0]
        if family != previous:
            table.add_section()
        previous = family
        table.add_row(metric, *(cell(metric) for cell in columns.values()))


def _difference(differences: Mapping[str, PairedDifference], metric: str) -> Text:
    if metric not in differences:
        return Text("-")
    found = differences[metric]
    return Text(f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]  {found.p_value:.4f}")


def _facts(group: Group) -> list[str]:
    parameters, spread = group.runs[0].parameters, group.spread.get(_SLICED)
    return [
        group.name,
        ", ".join(str(run.seed) for run in group.runs),
        "-" if spread is None else f"{spread:.4f}",
        f"{parameters['trainable'] + parameters['frozen']:,}",
        f"{parameters['item_table']:,}",
        ", ".join(str(run.epochs) for run in group.runs),
        f"{group.seconds / 60:.1f}",
        "\n".join(group.changes) or "-",
    ]


def _protocol(protocol: Mapping[str, Any]) -> str:
    return "protocol  " + ", ".join(f"{name} {value}" for name, value in protocol.items())


def _slices(result: EvaluationResult, columns: list[str]) -> Table:
    table = Table(title=f"{_SLICED} by slice", title_justify="left")
    for name in ("users by", "slice"):
        table.add_column(name)
    for name in ("users", *columns):
        table.add_column(name, justify="right", no_wrap=True)
    previous = result.slices[0].which.by
    for one in result.slices:
        if one.which.by != previous:
            table.add_section()
        previous = one.which.by
        table.add_row(*one.which, f"{one.users:,}", *(_cell(one.rows[name], _SLICED) for name in columns))
    return table


def _cell(metrics: Mapping[str, MetricValue], metric: str) -> Text:
    if metric not in metrics:
        return Text("-")
    value = metrics[metric]
    places = _DECIMALS.get(metric.partition("@")[0], 4)
    interval = "" if value.low is None else f" [{value.low:,.{places}f}, {value.high:,.{places}f}]"
    # Text, not markup: square brackets would be read as a style
    return Text(f"{value.value:,.{places}f}{interval}")


def _counts(counts: UserCounts) -> list[str]:
    out = sum(counts.left_out.values())
    reasons = "; ".join(f"{users:,} {reason}" for reason, users in counts.left_out.items() if users)
    return [
        f"users     {counts.evaluated:,} evaluated, {out:,} left out" + (f" ({reasons})" if reasons else ""),
        f"cold      {counts.cold_targets:,} targets have no event in training, and count as they rank",
    ]
