"""The `seqrec` command: one function a verb, no logic of its own.

Heavy packages are imported inside the verbs, so that `seqrec --help` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from seqrec.errors import SeqrecError
from seqrec.quiet import quiet_packages, quiet_start

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


@app.command()
def prepare(
    logs: Annotated[list[str], typer.Argument(metavar="LOG...|RECIPE", help="Log files or globs; or one recipe.")],
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
    from seqrec.logs import store_table

    if len(logs) == 1 and Path(logs[0]).suffix in (".yaml", ".yml"):
        from seqrec.recipe import ensure_store, load_recipe

        recipe = load_recipe(logs[0], [f"data.store={out}"] if out else [])
        if recipe.logs is None:
            raise typer.BadParameter(f"{logs[0]} has no `logs` section")
        _print(store_table(ensure_store(recipe)))
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
    _print(store_table(prepare_store(_log_settings(values), out)))


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
    _print(report_table(tokenize_recipe(load_recipe(recipe, overrides or []), fresh=fresh)))


@app.command()
def fit(
    recipe: RecipeFile,
    overrides: Overrides = None,
    runs: Annotated[Path, typer.Option(help="Parent of run folders.")] = Path("runs"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw away what the run folder holds.")] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Another seed than the recipe's, as a run of its own: NAME-seedN.")
    ] = None,
) -> None:
    """Train a recipe; the same command again continues it.

    Example: `seqrec fit recipes/demo.yaml optimizer.lr=3e-4 trainer.devices=2 trainer.strategy=ddp`
    """
    from seqrec.recipe import fit as fit_recipe
    from seqrec.recipe import is_first_process, load_recipe, with_seed

    quiet_packages()
    wanted = load_recipe(recipe, overrides or [])
    run = fit_recipe(wanted if seed is None else with_seed(wanted, seed), runs=runs, fresh=fresh)
    if is_first_process():
        _say(f"{run.folder}: {json.dumps(run.result)}")


@app.command()
def plan(
    recipe: RecipeFile,
    overrides: Overrides = None,
    device: Annotated[str, typer.Option(help="As `h100-80gb`; `cpu` is this machine.")] = "cpu",
    devices: Annotated[int, typer.Option(min=1, help="Devices of each node.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")] = 1,
    items: Annotated[int | None, typer.Option(min=1, help="Size of the catalogue, without a store.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the plan as JSON.")] = None,
) -> None:
    """Predict memory, traffic and time of a training step under each strategy, before training.

    Example: `seqrec plan recipes/demo.yaml --nodes 2 --devices 8 --device h100-80gb --items 1000000`
    """
    from seqrec.plan import plan_recipe, plan_table
    from seqrec.recipe import load_recipe, write_text

    quiet_packages()
    made = plan_recipe(load_recipe(recipe, overrides or []), device=device, nodes=nodes, devices=devices, n_items=items)
    _print(plan_table(made))
    if json_file:
        write_text(json_file, json.dumps(made.to_dict(), indent=2) + "\n")


@app.command()
def launch(
    scheduler: Annotated[Literal["torchrun", "slurm", "kubernetes"], typer.Argument(help="What starts the processes.")],
    recipe: RecipeFile,
    overrides: Overrides = None,
    nodes: Annotated[str | None, typer.Option(help="Machines; for torchrun also MIN:MAX.")] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="Processes a node, one a GPU.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Further option of torchrun, sbatch or kubectl; repeatable.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="Kubernetes: container image with seqrec.")] = None,
    claim: Annotated[str | None, typer.Option(help="Kubernetes: volume claim for stores and runs.")] = None,
    kind: Annotated[Literal["jobset", "trainjob"], typer.Option(help="Kubernetes: which resource.")] = "jobset",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would run.")] = False,
) -> None:
    """Start a recipe on several processes or machines, or submit it.

    Example: `seqrec launch slurm recipes/ml-1m-causal.yaml --nodes 2 --devices 8 --option=--time=4:00:00 --dry-run`
    """
    from seqrec import launcher
    from seqrec.recipe import load_recipe

    wanted, changes, options = load_recipe(recipe, overrides or []), overrides or [], option or []
    shape = launcher.Shape.of(wanted, nodes=nodes, devices=devices)
    if scheduler == "torchrun":
        command = launcher.torchrun(recipe, changes, shape, options)
    elif scheduler == "slurm":
        command = launcher.slurm(recipe, changes, shape, options, name=wanted.name)
    else:
        if image is None or claim is None:
            raise typer.BadParameter("needed for Kubernetes", param_hint="--image" if image is None else "--claim")
        text = recipe.read_text(encoding="utf-8")
        command = launcher.kubernetes(
            text, changes, shape, options, name=wanted.name, kind=kind, image=image, claim=claim
        )
    if dry_run:
        typer.echo(command.show())
    else:
        raise SystemExit(command.run())


@app.command()
def evaluate(
    trained: Trained,
    split: Annotated[Literal["test", "validation"], typer.Option(help="Which targets.")] = "test",
    devices: Annotated[int, typer.Option(help="Processes; the metrics are the same for any number.")] = 1,
    accelerator: Annotated[str, typer.Option(help="As Lightning names it.")] = "auto",
    store: Annotated[str | None, typer.Option(help="Another store than the recipe's.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the metrics as JSON.")] = None,
) -> None:
    """Rank every item for every user, beside Popular and ItemKNN.

    Example: `seqrec evaluate runs/demo --split test --json metrics.json`
    """
    from seqrec.evaluation import evaluate as evaluate_model
    from seqrec.evaluation import evaluation_table
    from seqrec.recipe import Run, open_trained, write_text

    quiet_packages()
    found = open_trained(trained, store=store)
    result = evaluate_model(
        found.model, found.data, part=split, devices=devices, accelerator=accelerator, progress=sys.stderr.isatty()
    )
    if result is None:
        return
    _print(evaluation_table(result))
    text = json.dumps(result.to_dict(), indent=2) + "\n"
    if store is None and Run.exists(trained):
        write_text(Run(trained).evaluation_file(split), text)
    if json_file:
        write_text(json_file, text)


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
    user: Annotated[str | None, typer.Option(help="A user of the store.")] = None,
    users: Annotated[Path | None, typer.Option(help="File with one user id a line.")] = None,
    all_users: Annotated[bool, typer.Option("--all", help="Every user of the store, as Parquet into --out.")] = False,
    k: Annotated[int, typer.Option("-k", min=1, help="Length of the list.")] = 10,
    store: Annotated[str | None, typer.Option(help="Another store than the recipe's.")] = None,
    out: Annotated[Path | None, typer.Option(help="With --all: folder of the Parquet parts.")] = None,
    devices: Annotated[int, typer.Option(min=1, help="With --all: processes; the rows are the same for any.")] = 1,
    accelerator: Annotated[str, typer.Option(help="With --all: as Lightning names it.")] = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="With --all: throw away what --out holds.")] = False,
) -> None:
    """Print the top k for histories or users, as JSON Lines; or write them for all users, as Parquet.

    Example: `seqrec recommend runs/demo --history=A17,-42 -k 5`
    """
    from seqrec.recipe import open_trained

    if sum([all_users, *(option is not None for option in (history, user, users))]) != 1:
        raise typer.BadParameter("give one of --history, --user, --users and --all")
    if all_users != (out is not None):
        raise typer.BadParameter("--all and --out go together", param_hint="--out")
    if history is None and (times, actions) != (None, None):
        raise typer.BadParameter("--times and --actions go with --history", param_hint="--history")
    quiet_packages()
    found = open_trained(trained, store=store)
    if out is not None:
        from seqrec.bulk import recommend_all

        written = recommend_all(
            found.model,
            found.data,
            out,
            k=k,
            devices=devices,
            accelerator=accelerator,
            fresh=fresh,
            progress=sys.stderr.isatty(),
        )
        if written is not None:
            _say(f"{out}: {written:,} users")
        return
    recommender = found.recommender()
    if history is not None:
        names: list[str | None] = [None]
        histories = [_history(history, times, actions)]
    else:
        wanted = [user] if user is not None else _lines(users)
        names, histories = [*wanted], found.histories(wanted)
    for name, slate in zip(names, recommender.recommend(histories, k=k), strict=True):
        line: dict[str, Any] = {} if name is None else {"user": name}
        if any(one.fallback for one in slate):
            line["fallback"] = slate[0].fallback
        line["items"] = [{"item_id": one.item_id, "score": one.score} for one in slate]
        typer.echo(json.dumps(line, ensure_ascii=False))


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
    _say(str(consolidate_run(Run.open(run), checkpoint=checkpoint, out=out)))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    merge: Annotated[bool, typer.Option("--merge", help="Merge the adapter into its backbone.")] = False,
) -> None:
    """Export a run for serving, and check in a fresh process that it scores the same.

    Example: `seqrec export runs/demo --out bundles/demo`
    """
    from seqrec.recipe import Run, export_run

    quiet_packages()
    _say(f"{export_run(Run.open(run), out, merge=merge)}: scores equal in a fresh process")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that the demo makes.")] = Path("demo"),
) -> None:
    """Simulate a shop's log and run it through: prepare, fit, evaluate, recommend, export, report."""
    from seqrec.demo import run_demo

    quiet_packages()
    _say(f"open {run_demo(out, say=_say)}")


@app.command()
def schema() -> None:
    """Print the JSON schema of recipe files, for editors."""
    from seqrec.recipe import Recipe

    typer.echo(json.dumps(Recipe.model_json_schema(), indent=2))


def main() -> None:
    """Entry point: errors of seqrec's own are printed without a traceback."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    quiet_start()
    try:
        app()
    except SeqrecError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise SystemExit(error.exit_code) from None


def _history(items: str, times: str | None, actions: str | None) -> Any:
    from seqrec.export import History

    lists = [None if text is None else [part for part in text.split(",") if part] for text in (items, times, actions)]
    try:
        numbers = None if lists[1] is None else [int(time) for time in lists[1]]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--times") from error
    return History(lists[0] or [], numbers, lists[2])


def _log_settings(values: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from seqrec.logs import LogSettings

    try:
        return LogSettings.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise typer.BadParameter(fault["msg"], param_hint=".".join(map(str, fault["loc"]))) from None


def _print(renderable: Any) -> None:
    from rich.console import Console

    # a table cut to a pipe's 80 columns would lose figures
    Console(width=None if sys.stdout.isatty() else 160).print(renderable)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _lines(path: Path | None) -> list[str]:
    assert path is not None
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line]
