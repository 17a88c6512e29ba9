"""The `seqrec` command, and arguments that several verbs take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from seqrec.errors import SeqrecError
from seqrec.quiet import quiet_start

app = typer.Typer(
    name="seqrec",
    help="Train large sequence models on behaviour logs and turn them into recommenders.",
    epilog="Start with `seqrec demo`, then `seqrec prepare` on a log of your own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

RecipeFile = Annotated[Path, typer.Argument(help="Recipe file (YAML).", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides by dotted path.", show_default=False)
]
Trained = Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="Run folder or bundle.", show_default=False)]
Diversify = Annotated[
    str | None,
    typer.Option(help="Re-rank lists: `mmr:0.7` or `dpp:0.7`, with the weight of relevance; `mmr:0.7:category`."),
]


def main() -> None:
    """Entry point: errors of seqrec's own are printed without a traceback."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    quiet_start()
    try:
        app()
    except SeqrecError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise SystemExit(error.exit_code) from None
