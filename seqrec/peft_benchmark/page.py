"""A benchmark of methods as one HTML file that needs nothing beside it."""

from __future__ import annotations

from pathlib import Path

from seqrec.evaluation.charts import TradeOffPoint, metric_label, trade_off_chart
from seqrec.evaluation.report import page_template
from seqrec.peft_benchmark.result import BenchmarkResult, ExperimentResult
from seqrec.peft_benchmark.table import cells, headings, stability


def write_page(path: Path, result: BenchmarkResult) -> Path:
    """Writes the page, and gives back where.

    Args:
        path: the HTML file to write; its folder is made where it is missing.
        result: what to show.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_page(result), encoding="utf-8")
    return path


def render_page(result: BenchmarkResult) -> str:
    """The page as text."""
    metric = result.protocol.metric
    costs = {"trainable parameters in the backbone": _parameters, "seconds of training": _seconds}
    return page_template("peft_benchmark.html.j2", "seqrec.peft_benchmark").render(
        result=result,
        metric=metric_label(metric),
        headings=headings(result),
        rows={experiment.name: cells(result, experiment) for experiment in result.experiments},
        stability=stability(result),
        charts=[
            trade_off_chart(
                [TradeOffPoint(e.name, cost(e), e.test.value, e.test.low, e.test.high) for e in result.experiments],
                cost=name,
                metric=metric,
                marked=result.advised.name,
            )
            for name, cost in costs.items()
        ],
    )


def _parameters(experiment: ExperimentResult) -> float:
    return max(1, experiment.parameters)  # a logarithmic axis has no place for head_only's 0


def _seconds(experiment: ExperimentResult) -> float:
    return experiment.seconds
