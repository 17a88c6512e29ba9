"""A benchmark of methods for the terminal."""

from __future__ import annotations

from rich.console import Group as Together
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from seqrec.peft_benchmark.result import BenchmarkResult, ExperimentResult, Interval


def benchmark_table(result: BenchmarkResult) -> RenderableType:
    """Experiments by validation, with costs; below, what it advises and how stable the order is."""
    protocol = result.protocol
    table = Table(
        caption="value [95 % interval over users]; * the learning rate is at the edge of those tried",
        caption_justify="left",
    )
    table.add_column("method")
    for name in headings(result):
        table.add_column(name, justify="right", no_wrap=True)
    for experiment in result.experiments:
        table.add_row(experiment.name, *cells(result, experiment))
    lines = [result.advice, stability(result)]
    lines += [f"left out: {name}, {reason}" for name, reason in protocol.left_out.items()]
    return Together(table, *map(Text, lines))


def headings(result: BenchmarkResult) -> list[str]:
    """Of the columns of `cells`."""
    metric = result.protocol.metric
    return [
        "size", "parameters", "KiB", "lr", f"validation {metric}", f"test {metric}", "behind on test", "minutes",
        f"s to {result.quality:.4f}", "events/s", "GiB", "ms, 64 users", "merged", "language",
    ]  # fmt: skip


def cells(result: BenchmarkResult, experiment: ExperimentResult) -> list[str]:
    """An experiment's row, as text."""
    reached, behind, answers = experiment.seconds_to(result.quality), experiment.test_behind, experiment.answer_ms
    return [
        str(experiment.size) if experiment.size > 1 else "",
        f"{experiment.parameters:,}",
        f"{experiment.adapter_bytes / 1024:,.0f}",
        f"{experiment.lr:g}" + ("*" if experiment.lr_at_edge else ""),
        interval_text(experiment.validation),
        interval_text(experiment.test),
        "" if behind is None else interval_text(behind, sign="+"),
        f"{experiment.seconds / 60:.1f}",
        "-" if reached is None else f"{reached:.0f}",
        _or_dash(experiment.tokens_per_second, ",.0f"),
        _or_dash(experiment.peak_memory_gib, ".2f"),
        _or_dash(answers.get("live, 64"), ".1f"),
        _or_dash(answers.get("merged, 64"), ".1f"),
        language_text(experiment),
    ]


def stability(result: BenchmarkResult) -> str:
    """How far seeds agree on the order of the experiments."""
    agreement = result.agreement_of_seeds
    seeds = ", ".join(map(str, result.protocol.seeds))
    if agreement is None:
        return f"seed {seeds}: whether the order holds for others is not known"
    return f"order on test over the seeds {seeds}: Kendall's tau {agreement:.2f} (1: the same, 0: unrelated)"


def interval_text(found: Interval, sign: str = "") -> str:
    """A value with its interval."""
    return f"{found.value:{sign}.4f} [{found.low:{sign}.4f}, {found.high:{sign}.4f}]"


def language_text(experiment: ExperimentResult) -> str:
    """What is left of the backbone's own ability."""
    found = experiment.language
    if found is None:
        return "-"
    if "similarity_drift" in found:
        return f"drift {found['similarity_drift']:.3f}"
    return f"loss {found['next_token_loss_before']:.2f} → {found['next_token_loss']:.2f}"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
