from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from seqrec.errors import RunError
from seqrec.evaluation.charts import TradeOffPoint, pareto_front
from seqrec.peft_benchmark import BenchmarkResult, benchmark_table, read_result, write_page
from seqrec.peft_benchmark.result import ExperimentResult, Interval, Protocol, write_result


def interval(value: float, low: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high)


def experiment(name: str, parameters: int, value: float, behind: Interval | None, **changes: Any) -> ExperimentResult:
    found: dict[str, Any] = {
        "name": name,
        "method": name,
        "size": 4,
        "parameters": parameters,
        "others": 100,
        "item_table": 1000,
        "lr": 0.001,
        "search": {"0.0003": 0.01, "0.001": value, "0.003": None},
        "validation": interval(value, value - 0.01, value + 0.01),
        "test": interval(value - 0.001, value - 0.011, value + 0.009),
        "test_of_seeds": [value, value - 0.002],
        "validation_behind": behind,
        "test_behind": behind,
        "seconds": 60.0,
        "adapter_bytes": 4 * parameters,
        "peak_memory_gib": 1.5,
        "tokens_per_second": 1234.5,
        "answer_ms": {"live, 1": 2.0, "live, 64": 20.0},
        "language": {"similarity_drift": 0.25},
        "curves": [[{"seconds": 10, "value": 0.05}, {"seconds": 20, "value": value}]] * 2,
    }
    return ExperimentResult.model_validate(found | changes)


@pytest.fixture
def result() -> BenchmarkResult:
    """Full fine-tuning is best, LoRA not told from it, IA³ worse."""
    return BenchmarkResult(
        protocol=Protocol(
            recipe="tiny",
            metric="ndcg@10",
            epochs=2,
            seeds=[1, 2],
            learning_rates=[0.0003, 0.001, 0.003],
            users=500,
            seconds=600,
            left_out={"oft": "GPT-2 keeps its weights in `Conv1D`"},
        ),
        experiments=[
            experiment("full", 50_000, 0.2, None),
            experiment("lora", 4_000, 0.19, interval(-0.01, -0.03, 0.01), lr=0.003),
            experiment("ia3", 400, 0.1, interval(-0.1, -0.12, -0.08), language=None),
        ],
    )


def test_the_advice_is_the_smallest_that_validation_does_not_tell_from_the_best(result: BenchmarkResult) -> None:
    assert result.advised.name == "lora"
    assert result.advice == (
        "Take `lora` (4,000 parameters, 0.02 MiB, learning rate 0.003): ndcg@10 0.1890 on test [0.1790, 0.1990]; "
        "validation does not tell it from the best, `full` with 50,000 parameters (-0.0100, 95 % interval -0.0300 to "
        "+0.0100)."
    )
    apart = [result.experiments[0], result.experiments[2]]
    assert "no method with fewer parameters" in result.model_copy(update={"experiments": apart}).advice


def test_seeds_agree_or_do_not(result: BenchmarkResult) -> None:
    assert result.agreement_of_seeds == 1
    turned = [e.model_copy(update={"test_of_seeds": [i, -i]}) for i, e in enumerate(result.experiments)]
    assert result.model_copy(update={"experiments": turned}).agreement_of_seeds == -1
    single = [e.model_copy(update={"test_of_seeds": [i]}) for i, e in enumerate(result.experiments)]
    assert result.model_copy(update={"experiments": single}).agreement_of_seeds is None


def test_time_to_a_quality_needs_all_seeds(result: BenchmarkResult) -> None:
    full, _, ia3 = result.experiments
    assert result.quality == pytest.approx(0.19)
    assert full.seconds_to(0.19) == 20
    assert full.seconds_to(0.05) == 10
    assert ia3.seconds_to(0.19) is None


def test_a_learning_rate_at_the_edge_is_marked(result: BenchmarkResult) -> None:
    assert [e.lr_at_edge for e in result.experiments] == [False, True, False]
    console = Console(width=300)
    with console.capture() as capture:
        console.print(benchmark_table(result))
    text = capture.get()
    assert "0.003*" in text
    assert "left out: oft, GPT-2" in text
    assert "Kendall's tau 1.00" in text


def test_the_page_stands_alone(result: BenchmarkResult, tmp_path: Path) -> None:
    page = write_page(tmp_path / "deep" / "index.html", result).read_text()
    HTMLParser().feed(page)
    assert page.count("<svg") == 2
    assert "http" not in page
    assert "Take `lora`" in page
    assert "not finite" in page


def test_it_is_read_as_it_was_written(result: BenchmarkResult, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished benchmark"):
        read_result(tmp_path)
    write_result(tmp_path / "result.json", result)
    assert read_result(tmp_path) == result


def test_the_front_is_what_no_other_beats() -> None:
    points = [TradeOffPoint(n, c, v, v, v) for n, c, v in [("a", 1, 1), ("b", 2, 3), ("c", 3, 2), ("d", 9, 4)]]
    assert [p.name for p in pareto_front(points[::-1])] == ["a", "b", "d"]
