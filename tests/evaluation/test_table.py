from __future__ import annotations

from rich.console import Console

from seqrec.evaluation.results import EvaluationResult, MetricValue, UserCounts
from seqrec.evaluation.table import evaluation_table

RESULT = EvaluationResult(
    protocol={"split": "leave-one-out", "seen_items": "filter"},
    counts=UserCounts(1234, {"without an event after the cut": 850, "without history": 0}, 17),
    model={"ndcg@10": MetricValue(0.05432, 0.0501, 0.0585), "popularity@10": MetricValue(1234.56, 1200.0, 1300.0)},
    baselines={"popular": {"ndcg@10": MetricValue(0.01, 0.008, 0.012)}},
)


def printed(result: EvaluationResult) -> list[str]:
    console = Console(width=120, force_terminal=False)
    with console.capture() as capture:
        console.print(evaluation_table(result))
    return capture.get().splitlines()


def row(lines: list[str], start: str) -> list[str]:
    (line,) = (line for line in lines if line.lstrip("│ ").startswith(start))
    return [cell.strip() for cell in line.strip("│ ").split("│")]


def test_model_beside_baseline_with_intervals():
    lines = printed(RESULT)
    assert row(lines, "ndcg@10") == ["ndcg@10", "0.0543 [0.0501, 0.0585]", "0.0100 [0.0080, 0.0120]"]
    assert row(lines, "popularity@10") == ["popularity@10", "1,234.6 [1,200.0, 1,300.0]", "-"]
    assert any("model" in line and "popular" in line for line in lines)


def test_protocol_and_counts_below():
    lines = printed(RESULT)
    assert lines[-3] == "protocol  split leave-one-out, seen_items filter"
    assert lines[-2] == "users     1,234 evaluated, 850 left out (850 without an event after the cut)"
    assert lines[-1] == "cold      17 targets have no event in training, and count as they rank"
