"""Verbs about what was trained, the demo, and the schema of recipes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from seqrec.cli.app import Diversify, Trained, app
from seqrec.quiet import quiet_packages
from seqrec.terminal import (
    read_history,
    read_lines,
    say,
    show,
    show_comparison,
    show_forms,
    show_slates,
)


@app.command()
def evaluate(
    trained: Trained,
    split: Annotated[Literal["test", "validation"], typer.Option(help="Which targets.")] = "test",
    devices: Annotated[int, typer.Option(help="Processes; the metrics are the same for any number.")] = 1,
    accelerator: Annotated[str, typer.Option(help="As Lightning names it.")] = "auto",
    store: Annotated[str | None, typer.Option(help="Another store than the recipe's.")] = None,
    baselines: Annotated[
        str, typer.Option(help="Comma-separated: popular, popular_recent, item_knn, als, bpr; empty for none.")
    ] = "popular,popular_recent,item_knn",
    diversify: Diversify = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the metrics as JSON.")] = None,
) -> None:
    """Rank items for every user, beside baselines.

    Example: `seqrec evaluate runs/demo --split test --json metrics.json`
    """
    from seqrec.evaluation import evaluate as evaluate_model
    from seqrec.evaluation import evaluation_table
    from seqrec.recipe import Run, evaluate_run, open_trained, write_text

    quiet_packages()
    wanted: Any = baselines.split(",") if baselines else []
    options: Any = {"devices": devices, "accelerator": accelerator, "progress": sys.stderr.isatty()}
    if store is None and diversify is None and Run.exists(trained):
        result = evaluate_run(Run.open(trained), split, baselines=wanted, **options)
    else:
        found = open_trained(trained, store=store)
        diversifier = None if diversify is None else found.diversifier(diversify)
        result = evaluate_model(
            found.model, found.data, part=split, baselines=wanted, diversifier=diversifier, **options
        )
    if result is None:
        return
    show(evaluation_table(result))
    if json_file:
        write_text(json_file, json.dumps(result.to_dict(), indent=2) + "\n")


@app.command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folders; the first is what others are compared with.", show_default=False
        ),
    ],
    split: Annotated[Literal["test", "validation"], typer.Option(help="Which targets.")] = "test",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the comparison as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write it as a page with charts.")] = None,
    accelerator: Annotated[str, typer.Option(help="As Lightning names it.")] = "auto",
) -> None:
    """Compare runs on the same users: means over seeds, paired differences, times and sizes.

    Example: `seqrec compare runs/small-seed1 runs/small-seed2 runs/large-seed1 runs/large-seed2 --html compare.html`
    """
    from seqrec.recipe import compare_runs

    quiet_packages()
    found = compare_runs(runs, part=split, accelerator=accelerator, progress=sys.stderr.isatty())
    show_comparison(found, json_file, html)


@app.command()
def recommend(
    trained: Trained,
    history: Annotated[
        str | None, typer.Option(help="Item ids, oldest first, comma-separated; empty for a new user.")
    ] = None,
    times: Annotated[
        str | None, typer.Option(help="With --history: times of its events, microseconds since 1970 UTC.")
    ] = None,
    actions: Annotated[str | None, typer.Option(help="With --history: actions of its events, by name.")] = None,
    about: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="With --history: an attribute of the user; repeatable."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="A user of the store.")] = None,
    users: Annotated[Path | None, typer.Option(help="File with one user id a line.")] = None,
    all_users: Annotated[bool, typer.Option("--all", help="Every user of the store, as Parquet into --out.")] = False,
    k: Annotated[int, typer.Option("-k", min=1, help="Length of the list.")] = 10,
    store: Annotated[str | None, typer.Option(help="Another store than the recipe's.")] = None,
    out: Annotated[Path | None, typer.Option(help="With --all: folder of the Parquet parts.")] = None,
    devices: Annotated[int, typer.Option(min=1, help="With --all: processes; the rows are the same for any.")] = 1,
    accelerator: Annotated[str, typer.Option(help="With --all: as Lightning names it.")] = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="With --all: throw away what --out holds.")] = False,
    diversify: Diversify = None,
) -> None:
    """Print the top k for histories or users, as JSON Lines; or write them for all users, as Parquet.

    Example: `seqrec recommend runs/demo --history=A17,-42 -k 5`
    """
    from seqrec.recipe import open_trained

    if sum([all_users, *(option is not None for option in (history, user, users))]) != 1:
        raise typer.BadParameter("give one of --history, --user, --users and --all")
    if all_users != (out is not None):
        raise typer.BadParameter("--all and --out go together", param_hint="--out")
    if history is None and (times, actions, about) != (None, None, None):
        raise typer.BadParameter("--times, --actions and --about go with --history", param_hint="--history")
    quiet_packages()
    found = open_trained(trained, store=store)
    diversifier = None if diversify is None else found.diversifier(diversify)
    if out is not None:
        from seqrec.bulk import recommend_all

        written = recommend_all(
            found.model,
            found.data,
            out,
            k=k,
            diversifier=diversifier,
            devices=devices,
            accelerator=accelerator,
            fresh=fresh,
            progress=sys.stderr.isatty(),
        )
        if written is not None:
            say(f"{out}: {written:,} users")
        return
    recommender = found.recommender(diversifier)
    if history is not None:
        names: list[str | None] = [None]
        histories = [read_history(history, times, actions, about or [])]
    else:
        wanted = [user] if user is not None else read_lines(users)
        names, histories = [*wanted], found.histories(wanted)
    show_slates(names, recommender.recommend(histories, k=k))


@app.command()
def consolidate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", show_default=False)],
    checkpoint: Annotated[str | None, typer.Option(help="Which one, as step-1200; the best by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file; RUN/step-N.safetensors by default.")] = None,
) -> None:
    """Write the weights of a checkpoint, of whatever strategy, as one safetensors file.

    Example: `seqrec consolidate runs/demo --out demo.safetensors`
    """
    from seqrec.recipe import Run
    from seqrec.recipe import consolidate as consolidate_run

    quiet_packages()
    say(str(consolidate_run(Run.open(run), checkpoint=checkpoint, out=out)))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    merge: Annotated[bool, typer.Option("--merge", help="Merge the adapter into its backbone.")] = False,
    forms: Annotated[
        str,
        typer.Option(
            help="Also for other runtimes, comma-separated: `onnx`, a graph for onnxruntime; `int8`, the same with "
            "weights in 8 bits; `index`, item vectors for approximate search by faiss; `generate`, a model of semantic "
            "ids for transformers."
        ),
    ] = "",
) -> None:
    """Export a run for serving, and check in a fresh process that it scores the same.

    Example: `seqrec export runs/demo --out bundles/demo --forms onnx,index`
    """
    from seqrec.export import parse_forms, read_manifest
    from seqrec.recipe import Run, export_run

    quiet_packages()
    path = export_run(Run.open(run), out, merge=merge, forms=parse_forms(forms))
    say(f"{path}: scores equal in a fresh process")
    if reports := read_manifest(path).forms:
        show_forms(reports)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that the demo makes.")] = Path("demo"),
) -> None:
    """Simulate a shop's log and run it through: prepare, fit, evaluate, recommend, export, report."""
    from seqrec.demo import run_demo

    quiet_packages()
    say(f"open {run_demo(out, say=say)}")


@app.command()
def schema() -> None:
    """Print the JSON schema of recipe files, for editors."""
    from seqrec.recipe import Recipe

    typer.echo(json.dumps(Recipe.model_json_schema(), indent=2))
