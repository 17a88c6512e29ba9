import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from seqrec.evaluation.charts import CurvePoint, bar_chart, curve_chart, metric_label
from seqrec.evaluation.report import Report, ReportItem, ReportUser, claims, render_report, write_report
from seqrec.evaluation.results import MetricValue


def row(scale: float) -> dict[str, MetricValue]:
    return {
        f"{name}@{k}": MetricValue(value * scale, 0.93 * value * scale, 1.07 * value * scale)
        for name, base in (("hr", 0.30), ("ndcg", 0.18), ("mrr", 0.14))
        for k, value in ((5, 0.7 * base), (10, base), (20, 1.3 * base))
    }


PHONE = ReportItem("sku-1", "Calder Slim Phone, teal", "Phones", "purchase")
CASE = ReportItem("sku-2", "Fennick Soft Phone Case, <plum>", "Phone accessories")
TENT = ReportItem("sku-3", "Harrow Trail Tent, olive", "Outdoor")

REPORT = Report(
    title="seqrec demo: a simulated shop",
    rows={
        "model": {**row(1.6), "coverage@10": MetricValue(0.81, 0.8, 0.82)},
        "popular": row(0.3),
        "item_knn": row(0.6),
        "oracle": row(2.0),
    },
    protocol="Leave-one-out, seen items filtered, every item ranked.",
    curve=tuple(CurvePoint(100 * e, 6.5 - 0.3 * e, 0.2 - 0.002 * (e - 6) ** 2) for e in range(1, 9)),
    counts={"Users evaluated": 1_672, "Users left out": "328: the target repeats an earlier item"},
    users=(
        ReportUser("u00001", (TENT, PHONE), (TENT, CASE), CASE),
        ReportUser("u00002", (PHONE,), (CASE,), TENT),
    ),
    settings={"Backbone": "causal, 2 layers of width 64"},
)


class Page(HTMLParser):
    """Tags in order; fails on a tag that is closed out of turn."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_well_formed_and_its_ids_are_unique(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path / "new" / "report.html", REPORT).read_text(encoding="utf-8"))
    assert not page.open
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0


def test_page_needs_nothing_beside_it() -> None:
    page = render_report(REPORT)
    assert not re.search(r"https?://|src=|<script|<link|@import|url\((?!#)", page)


def test_references_inside_charts_lead_somewhere() -> None:
    page = render_report(REPORT)
    used = set(re.findall(r"url\(#([^)]+)\)", page)) | set(re.findall(r'href="#([^"]+)"', page))
    assert used
    assert used <= set(re.findall(r'\bid="([^"]+)"', page))


def test_headline_by_hand() -> None:
    assert claims(REPORT) == {"rate": "48.0 %", "popular": "5.3", "oracle": "80 %"}
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", render_report(REPORT)))
    assert (
        "The model finds the next item in its top 10 for 48.0 % of users: 5.3 times as often as Popular, "
        "80 % of what the simulator&rsquo;s oracle reaches." in text
    )


def test_headline_without_baselines_and_oracle() -> None:
    text = re.sub(r"\s+", " ", render_report(replace(REPORT, rows={"model": row(1.6)})))
    assert "<em>48.0 %</em> of users.</p>" in text
    assert "oracle" not in text[text.index("<main>") :]


def test_popular_without_a_hit_makes_no_ratio() -> None:
    assert "popular" not in claims(replace(REPORT, rows={"model": row(1.6), "popular": row(0)}))


def test_hit_is_marked_and_a_miss_is_not() -> None:
    assert [user.hit for user in REPORT.users] == [2, None]
    page = render_report(REPORT)
    assert page.count('<li class="hit">') == 1
    assert "found at 2" in page
    assert "not in the top 1" in page


def test_titles_are_escaped() -> None:
    page = render_report(REPORT)
    assert "&lt;plum&gt;" in page
    assert "<plum>" not in page


def test_a_metric_that_a_row_lacks_is_left_blank() -> None:
    table = render_report(REPORT).split("<tbody>")[1].split("</tbody>")[0]
    assert len(re.findall(r"<td[^>]*></td>", table)) == 3  # coverage of all but the model


def test_same_report_same_page() -> None:
    assert render_report(REPORT) == render_report(REPORT)


def test_report_without_the_model_s_headline_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="no `hr@50` of `model`"):
        render_report(replace(REPORT, headline="hr@50"))


@pytest.mark.parametrize("chart", [curve_chart(REPORT.curve, "ndcg@10"), bar_chart(REPORT.rows, "hr@10", {})])
def test_charts_take_their_colours_from_the_page(chart: str) -> None:
    assert chart.startswith("<svg")
    assert "var(--model)" in chart
    assert not re.search(r"(?:fill|stroke): #", chart)


def test_curve_marks_the_best_validation() -> None:
    assert "best 0.200" in curve_chart(REPORT.curve, "ndcg@10")


def test_curve_without_validation() -> None:
    assert "best" not in curve_chart((CurvePoint(1, 3.0), CurvePoint(2, 2.0)), "ndcg@10")


@pytest.mark.parametrize(
    ("metric", "label"),
    [("ndcg@10", "NDCG@10"), ("coverage@5", "coverage@5"), ("mean_popularity@5", "mean popularity@5")],
)
def test_metric_labels(metric: str, label: str) -> None:
    assert metric_label(metric) == label
