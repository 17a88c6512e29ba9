"""What the verbs read from their options, and what they show in a terminal or a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from seqrec.evaluation import Comparison
    from seqrec.export import Form, FormReport, History
    from seqrec.logs import LogSettings
    from seqrec.serving import Recommendation
    from seqrec.store import SequenceStore


def read_history(items: str, times: str | None, actions: str | None, about: Sequence[str]) -> History:
    """A history from comma-separated texts and ``NAME=VALUE`` of its user; raises BadParameter where one cannot be."""
    from seqrec.export import History

    lists = [None if text is None else [part for part in text.split(",") if part] for text in (items, times, actions)]
    try:
        numbers = None if lists[1] is None else [int(time) for time in lists[1]]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--times") from error
    pairs = [one.partition("=") for one in about]
    if wrong := next((name for name, equals, _ in pairs if not equals), None):
        raise typer.BadParameter(f"{wrong!r} is not NAME=VALUE", param_hint="--about")
    return History(lists[0] or [], numbers, lists[2], user={name: value for name, _, value in pairs} or None)


def read_log_settings(values: dict[str, Any]) -> LogSettings:
    """Settings of a log; raises BadParameter for the first that is wrong."""
    from pydantic import ValidationError

    from seqrec.logs import LogSettings

    try:
        return LogSettings.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise typer.BadParameter(fault["msg"], param_hint=".".join(map(str, fault["loc"]))) from None


def read_lines(path: Path | None) -> list[str]:
    """The lines of a file that are not empty."""
    assert path is not None
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line]


def show_store(store: SequenceStore) -> None:
    """A store's counts, and what was rejected or left out."""
    from rich.table import Table

    manifest = store.manifest
    table = Table("users", "items", "events", "rejected", title=str(store.path))
    table.add_row(*(f"{n:,}" for n in manifest.counts.model_dump().values()))
    show(table)
    for reason, n in manifest.rejected.items():
        say(f"rejected: {n:,} × {reason} (see {store.path / 'rejected.parquet'})")
    for rule, n in manifest.dropped.items():
        say(f"left out: {n:,} × {rule}")


def show_comparison(comparison: Comparison, json_file: Path | None = None, html: Path | None = None) -> None:
    """A comparison as a table; also written as JSON and as a page where files are given."""
    from seqrec.evaluation import comparison_table, write_comparison
    from seqrec.recipe import write_text

    show(comparison_table(comparison))
    if json_file:
        write_text(json_file, json.dumps(comparison.to_dict(), indent=2) + "\n")
    if html:
        say(f"open {write_comparison(html, comparison)}")


def show_forms(reports: Mapping[Form, FormReport]) -> None:
    """Forms of a bundle beside the live model: its figures stand behind the strokes."""
    from rich.table import Column, Table

    figures = ("MB", "scores differ", "same 10 best", "NDCG@10", "ms of 1, of 64")
    table = Table("form", *(Column(name, justify="right") for name in figures))
    for form, found in reports.items():
        apart = "" if found.max_difference is None else f"{found.max_difference:.1e}"
        pairs = (f"{found.milliseconds[size]:.2f} / {live:.2f}" for size, live in found.live_milliseconds.items())
        same = "" if found.same_top_10 is None else f"{found.same_top_10:.1%}"
        ndcg = "" if found.ndcg_10 is None else f"{found.ndcg_10:.4f} / {found.live_ndcg_10:.4f}"
        table.add_row(form, f"{found.size_bytes / 1e6:.1f}", apart, same, ndcg, ", ".join(pairs))
    show(table)


def show_slates(names: Sequence[str | None], slates: Sequence[Sequence[Recommendation]]) -> None:
    """Recommendations as JSON Lines; a user's name where there is one."""
    for name, slate in zip(names, slates, strict=True):
        line: dict[str, Any] = {} if name is None else {"user": name}
        if any(one.fallback for one in slate):
            line["fallback"] = slate[0].fallback
        line["items"] = [{"item_id": one.item_id, "score": one.score} for one in slate]
        typer.echo(json.dumps(line, ensure_ascii=False))


def show(renderable: RenderableType) -> None:
    """Results, to the standard output."""
    from rich.console import Console

    # a table cut to a pipe's 80 columns would lose figures
    Console(width=None if sys.stdout.isatty() else 240).print(renderable)


def say(text: str) -> None:
    """What is done, to the standard error: the output stays what can be piped."""
    typer.echo(text, err=True)
