"""What the verbs show in a terminal or a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from seqrec.evaluation import Comparison
    from seqrec.serving import Recommendation
    from seqrec.store import SequenceStore


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
