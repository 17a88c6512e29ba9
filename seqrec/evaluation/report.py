"""A run's result as one HTML file that needs nothing beside it: no script, no network, light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from seqrec.evaluation.charts import CurvePoint, bar_chart, curve_chart, metric_label
from seqrec.evaluation.results import MetricValue, SliceResult

if TYPE_CHECKING:
    from jinja2 import Template

LABELS = {
    "model": "Model",
    "popular": "Popular",
    "popular_recent": "Popular lately",
    "item_knn": "ItemKNN",
    "als": "ALS",
    "bpr": "BPR",
    "oracle": "Oracle",
}
CHARTED = ("hr", "ndcg")


@dataclass(frozen=True)
class ReportItem:
    """An item as a person reads it.

    Attributes:
        item_id: its id; what makes two items the same.
        title: what is shown.
        category: shown beside the title.
        action: what the user did with it; in histories only.
    """

    item_id: str
    title: str
    category: str = ""
    action: str = ""


@dataclass(frozen=True)
class ReportUser:
    """One user's history, what was recommended, and what the user did next.

    Attributes:
        user_id: the user.
        history: the latest events before the target, oldest first.
        recommended: the slate, best first.
        target: the item of the user's next event.
    """

    user_id: str
    history: tuple[ReportItem, ...]
    recommended: tuple[ReportItem, ...]
    target: ReportItem

    @property
    def hit(self) -> int | None:
        """The target's place in the slate, from 1, or None."""
        ids = [item.item_id for item in self.recommended]
        return ids.index(self.target.item_id) + 1 if self.target.item_id in ids else None


@dataclass(frozen=True)
class Report:
    """All that the page shows.

    Attributes:
        title: of the page.
        rows: metrics of `model`, of baselines such as `popular` and `item_knn`, and of the simulator's `oracle` where
            there is one, in the order shown; a metric that a row lacks is left blank.
        protocol: one or two sentences: what was measured, and how.
        headline: the metric of the headline; HR at some cutoff.
        curve: the training curve, by step.
        valid_metric: what `CurvePoint.valid` is.
        counts: label → number or text, as users evaluated and left out.
        slices: metrics of some of the users, which have ``sliced``.
        sliced: the metric that is shown of them.
        users: some users' histories and slates.
        settings: label → text, as model, settings, versions, time taken.
    """

    title: str
    rows: Mapping[str, Mapping[str, MetricValue]]
    protocol: str
    headline: str = "hr@10"
    curve: tuple[CurvePoint, ...] = ()
    valid_metric: str = "ndcg@10"
    counts: Mapping[str, int | str] = field(default_factory=dict)
    slices: tuple[SliceResult, ...] = ()
    sliced: str = "ndcg@10"
    users: tuple[ReportUser, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def write_report(path: Path, report: Report) -> Path:
    """Writes the page, and gives back where.

    Args:
        path: the HTML file to write; its folder is made where it is missing.
        report: what to show.
    Raises:
        ValueError: `rows` lacks the model or its headline metric.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_report(report), encoding="utf-8")
    return path


def render_report(report: Report) -> str:
    """The page as text; raises as `write_report` does. Everything that comes from the report is escaped."""
    if report.headline not in report.rows.get("model", {}):
        raise ValueError(f"the report's rows have no `{report.headline}` of `model`")
    cutoff = report.headline.partition("@")[2]
    return page_template("report.html.j2").render(
        report=report,
        labels=LABELS,
        cutoff=cutoff,
        claims=claims(report),
        metrics={name: metric_label(name) for name in dict.fromkeys(m for row in report.rows.values() for m in row)},
        curve=curve_chart(report.curve, report.valid_metric) if report.curve else "",
        bars=[
            bar_chart(report.rows, m, LABELS) for name in CHARTED if (m := f"{name}@{cutoff}") in report.rows["model"]
        ],
    )


def claims(report: Report) -> dict[str, str]:
    """The numbers of the headline: `rate` always; how many times `popular`, what share of `oracle`, where above 0."""
    value = {name: row[report.headline].value for name, row in report.rows.items() if report.headline in row}
    found = {"rate": f"{100 * value['model']:.1f} %"}
    if value.get("popular"):
        found["popular"] = f"{value['model'] / value['popular']:.1f}"
    if value.get("oracle"):
        found["oracle"] = f"{100 * value['model'] / value['oracle']:.0f} %"
    return found


def page_template(name: str, package: str = "seqrec.evaluation") -> Template:
    """A page of a package's folder; all that it is given is escaped, ``figure`` writes numbers, the style is here."""
    import jinja2

    places = dict.fromkeys([package, "seqrec.evaluation"])
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(place, ".") for place in places]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    return environment.get_template(name)


def _figure(value: float) -> str:
    """Four decimals for shares, fewer where a value counts something."""
    return f"{value:.4f}" if abs(value) < 1 else f"{value:,.1f}"
