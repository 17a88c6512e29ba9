"""Charts as inline SVG that takes its colours and its type from the page, so that they suit light and dark alike."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from seqrec.evaluation.results import MetricValue, PairedDifference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# matplotlib knows no CSS variables: each is drawn in a colour of its own, which is put back afterwards
_VARIABLES = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--model)",
    "#050505": "var(--baseline)",
    "#060606": "var(--oracle)",
    "#070707": "var(--second)",
}
INK, MUTED, LINE, MODEL, BASELINE, ORACLE, SECOND = _VARIABLES

_STYLE: dict[Any, Any] = {  # matplotlib types its keys one by one
    "svg.fonttype": "none",  # text stays text: it can be searched, and the page sets its type
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}


@dataclass(frozen=True)
class CurvePoint:
    """One point of the training curve.

    Attributes:
        step: optimizer steps so far.
        train_loss: mean loss since the point before, or None.
        valid: validation metric, or None where it was not measured.
    """

    step: int
    train_loss: float | None = None
    valid: float | None = None


class TradeOffPoint(NamedTuple):
    """One choice: what it costs, and how good it is, with an interval."""

    name: str
    cost: float
    value: float
    low: float
    high: float


def curve_chart(points: Sequence[CurvePoint], valid_metric: str) -> str:
    """Training loss (left axis) and validation metric (right axis) over steps, the best validation marked."""
    import matplotlib as mpl

    with mpl.rc_context({**_STYLE, "svg.hashsalt": "curve"}):
        figure, axes = _figure(11.4, 2.9)
        loss = [(p.step, p.train_loss) for p in points if p.train_loss is not None]
        valid = [(p.step, p.valid) for p in points if p.valid is not None]
        if loss:
            axes.plot(*zip(*loss, strict=True), color=SECOND, linewidth=2, solid_capstyle="round")
        axes.set_xlabel("step")
        axes.set_title("training loss", loc="left", color=SECOND, fontsize=10.5)
        axes.grid(axis="y", linewidth=0.8)
        axes.tick_params(length=0)
        if valid:
            _draw_validation(axes, valid, valid_metric)
        return _svg(figure, "curve", f"Training loss and validation {metric_label(valid_metric)} over steps")


def _draw_validation(axes: Axes, valid: list[tuple[int, float]], metric: str) -> None:
    right = axes.twinx()
    right.spines["right"].set_visible(False)
    right.tick_params(length=0)
    right.plot(*zip(*valid, strict=True), color=MODEL, linewidth=2, marker="o", markersize=3.5, solid_capstyle="round")
    right.set_ylim(0, 1.18 * max(value for _, value in valid) or 1)
    right.set_title(f"validation {metric_label(metric)}", loc="right", color=MODEL, fontsize=10.5)
    step, best = max(valid, key=lambda point: point[1])
    right.plot([step], [best], marker="o", markersize=8, color=MODEL)
    right.annotate(
        f"best {best:.3f}", (step, best), (0, 9), textcoords="offset points", ha="center", color=MODEL, weight="bold"
    )


def bar_chart(rows: Mapping[str, Mapping[str, MetricValue]], metric: str, labels: Mapping[str, str]) -> str:
    """One metric of all rows that have it as horizontal bars with their intervals, the first row on top."""
    import matplotlib as mpl

    shown = {name: row[metric] for name, row in rows.items() if metric in row}
    with mpl.rc_context({**_STYLE, "svg.hashsalt": metric, "axes.spines.bottom": False}):
        figure, axes = _figure(5.6, 0.62 + 0.52 * len(shown))
        end = max((_bounds(value)[1] for value in shown.values()), default=1) or 1
        for place, (name, value) in enumerate(shown.items()):
            colour = {"model": MODEL, "oracle": ORACLE}.get(name, BASELINE)
            bounds = _bounds(value)
            axes.barh(place, value.value, height=0.58, color=colour)
            axes.plot(bounds, [place, place], color=INK, linewidth=1.4, solid_capstyle="butt")
            axes.plot(bounds, [place, place], color=INK, marker="|", markersize=7, linestyle="none")
            axes.text(bounds[1] + 0.02 * end, place, f"{value.value:.3f}", va="center", weight="bold")
        axes.set_yticks(range(len(shown)), [labels.get(name, name) for name in shown])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.tick_params(length=0)
        axes.set_xlim(0, 1.14 * end)
        axes.invert_yaxis()
        axes.grid(axis="x", linewidth=0.8)
        axes.set_title(metric_label(metric), loc="left", fontsize=10.5, color=MUTED)
        return _svg(figure, re.sub(r"\W", "-", metric), f"{metric_label(metric)} of {', '.join(shown)}")


def difference_chart(rows: Mapping[str, PairedDifference], metric: str) -> str:
    """Differences of one metric with their intervals, one a row; in colour those whose interval leaves out zero."""
    import matplotlib as mpl

    with mpl.rc_context({**_STYLE, "svg.hashsalt": f"difference-{metric}", "axes.spines.left": False}):
        figure, axes = _figure(5.6, 0.82 + 0.42 * len(rows))
        axes.axvline(0, color=MUTED, linewidth=1)
        for place, found in enumerate(rows.values()):
            colour = MODEL if found.low > 0 or found.high < 0 else BASELINE
            axes.plot([found.low, found.high], [place, place], color=colour, linewidth=2.4, solid_capstyle="round")
            axes.plot([found.value], [place], color=colour, marker="o", markersize=7)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.tick_params(length=0)
        axes.grid(axis="x", linewidth=0.8)
        axes.set_title(f"difference in {metric_label(metric)}", loc="left", fontsize=10.5, color=MUTED)
        name = "difference-" + re.sub(r"\W", "-", metric)
        return _svg(figure, name, f"Difference in {metric_label(metric)} of {', '.join(rows)}")


def trade_off_chart(points: Sequence[TradeOffPoint], *, cost: str, metric: str, marked: str) -> str:
    """A metric over a cost on a logarithmic axis; a line joins the points that no other beats at equal or lower cost.

    Args:
        points: at least one, of positive costs.
        cost: what the cost is called.
        metric: what the value is, as ``ndcg@10``.
        marked: name of the point in colour.
    """
    import matplotlib as mpl

    with mpl.rc_context({**_STYLE, "svg.hashsalt": cost}):
        figure, axes = _figure(5.6, 4.2)
        best = pareto_front(points)
        axes.plot([p.cost for p in best], [p.value for p in best], color=SECOND, linewidth=1.4)
        for point in points:
            colour = MODEL if point.name == marked else BASELINE
            axes.plot([point.cost] * 2, [point.low, point.high], color=colour, linewidth=1)
            axes.plot([point.cost], [point.value], marker="o", markersize=6, color=colour)
            axes.annotate(
                point.name, (point.cost, point.value), (5, 4), textcoords="offset points", fontsize=9, color=colour
            )
        axes.set_xscale("log")
        axes.margins(x=0.12)
        axes.set_xlabel(cost)
        axes.grid(axis="y", linewidth=0.8)
        axes.tick_params(length=0, which="both")
        axes.set_title(metric_label(metric), loc="left", fontsize=10.5, color=MUTED)
        return _svg(figure, "over-" + re.sub(r"\W", "-", cost), f"{metric_label(metric)} over {cost}")


def slice_chart(points: Sequence[tuple[float | str, float]], *, field: str, metric: str, logarithmic: bool) -> str:
    """A metric over the values that a field has had, the best point in colour.

    Args:
        points: at least one pair of value and metric, the best first; values all numbers or all text.
        field: what the values are of.
        metric: as ``ndcg@10``.
        logarithmic: whether the axis of the values is; they are positive then.
    """
    import matplotlib as mpl

    with mpl.rc_context({**_STYLE, "svg.hashsalt": field}):
        figure, axes = _figure(5.6, 2.9)
        if logarithmic:
            axes.set_xscale("log")
        places = {text: place for place, text in enumerate(sorted({v for v, _ in points if isinstance(v, str)}))}
        if places:
            axes.set_xticks(range(len(places)), list(places))
            axes.margins(x=0.2)
        for at, (value, found) in reversed(list(enumerate(points))):  # the best on top
            place = places[value] if isinstance(value, str) else value
            axes.plot([place], [found], marker="o", markersize=6, color=BASELINE if at else MODEL)
        axes.set_xlabel(field)
        axes.grid(axis="y", linewidth=0.8)
        axes.tick_params(length=0, which="both")
        axes.set_title(metric_label(metric), loc="left", fontsize=10.5, color=MUTED)
        return _svg(figure, "slice-" + re.sub(r"\W", "-", field), f"{metric_label(metric)} over {field}")


def pareto_front(points: Sequence[TradeOffPoint]) -> list[TradeOffPoint]:
    """Those that no other beats at equal or lower cost, the cheapest first."""
    front: list[TradeOffPoint] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.value)):
        if not front or point.value > front[-1].value:
            front.append(point)
    return front


def _bounds(value: MetricValue) -> tuple[float, float]:
    """Of its interval; the value itself where it has none."""
    return (value.value if value.low is None else value.low, value.value if value.high is None else value.high)


def metric_label(metric: str) -> str:
    """How people write a metric: ``ndcg@10`` → ``NDCG@10``, ``mean_popularity@10`` → ``mean popularity@10``."""
    name, at, k = metric.partition("@")
    return (name.upper() if name in {"hr", "ndcg", "mrr"} else name.replace("_", " ")) + at + k


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")  # not pyplot: no global state, no display
    return figure, figure.subplots()


def _svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an `<svg>` element that scales with its container; ``name`` keeps its ids apart from others'."""
    buffer = io.StringIO()
    plain: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=plain)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    label = html.escape(description)
    text = re.sub(
        r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', lambda m: f'<svg viewBox="{m[1]}" role="img" aria-label="{label}">', text
    )
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    text = re.sub(r"font: (?:(?:bold|700) )?([\d.]+)px [^;\"]*", _font, text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text


def _font(match: re.Match[str]) -> str:
    weight = "; font-weight: 650" if re.search("bold|700", match[0]) else ""
    return f"font-size: {match[1]}px{weight}"
