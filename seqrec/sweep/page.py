"""A sweep as one HTML file that needs nothing beside it."""

from __future__ import annotations

from pathlib import Path

from seqrec.evaluation.charts import metric_label, slice_chart
from seqrec.evaluation.report import page_template
from seqrec.sweep.result import SweepResult
from seqrec.sweep.table import cells, headings


def write_page(path: Path, result: SweepResult) -> Path:
    """Writes the page, and gives back where.

    Args:
        path: the HTML file to write.
        result: what to show.
    """
    path.write_text(render_page(result), encoding="utf-8")
    return path


def render_page(result: SweepResult) -> str:
    """The page as text."""
    found = [(trial.values, trial.value) for trial in result.trials if trial.value is not None]
    return page_template("sweep.html.j2", "seqrec.sweep").render(
        result=result,
        metric=metric_label(result.metric),
        charts=[
            slice_chart(
                [(values[path], value) for values, value in found],
                field=path,
                metric=result.metric,
                logarithmic=path in result.logarithmic,
            )
            for path in result.fields
            if found
        ],
        headings=headings(result),
        rows=[cells(result, trial) for trial in result.trials],
    )
