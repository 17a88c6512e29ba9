"""A comparison as one HTML file that needs nothing beside it."""

from __future__ import annotations

from pathlib import Path

from seqrec.evaluation.charts import bar_chart, difference_chart, metric_label
from seqrec.evaluation.comparison import Comparison
from seqrec.evaluation.report import page_template

CHARTED = ("ndcg@10", "hr@10")


def write_comparison(path: Path, comparison: Comparison) -> Path:
    """Writes the page, and gives back where.

    Args:
        path: the HTML file to write; its folder is made where it is missing.
        comparison: what to show.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_comparison(comparison), encoding="utf-8")
    return path


def render_comparison(comparison: Comparison) -> str:
    """The page as text."""
    groups = {group.name: group.metrics for group in comparison.groups}
    charted = [metric for metric in CHARTED if metric in comparison.metrics]
    first, *others = comparison.groups
    return page_template("comparison.html.j2").render(
        comparison=comparison,
        first=first,
        others=others,
        metrics={name: metric_label(name) for name in comparison.metrics},
        bars=[bar_chart(groups, metric, {}) for metric in charted],
        differences=[
            difference_chart({group.name: (group.differences or {})[metric] for group in others}, metric)
            for metric in charted
            if others
        ],
    )
