"""Verbs that train, or start or plan training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from seqrec.cli.app import Overrides, RecipeFile, app
from seqrec.quiet import quiet_packages
from seqrec.terminal import (
    say,
    show,
    show_comparison,
)


@app.command()
def fit(
    recipe: RecipeFile,
    overrides: Overrides = None,
    runs: Annotated[Path, typer.Option(help="Parent of run folders.")] = Path("runs"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw away what the run folder holds.")] = False,
    seed: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            help="Another seed than the recipe's, as a run of its own: NAME-seedN. Repeatable: seeds are trained in "
            "turn, and their mean is shown.",
        ),
    ] = None,
) -> None:
    """Train a recipe; the same command again continues it.

    Example: `seqrec fit recipes/demo.yaml optimizer.lr=3e-4 trainer.devices=2 trainer.strategy=ddp`
    """
    from seqrec.recipe import fit as fit_recipe
    from seqrec.recipe import fit_seeds, is_first_process, load_recipe, with_seed

    quiet_packages()
    wanted = load_recipe(recipe, overrides or [])
    if seed is not None and len(seed) > 1:
        show_comparison(fit_seeds(wanted, seed, runs=runs, fresh=fresh))
        return
    run = fit_recipe(wanted if seed is None else with_seed(wanted, *seed), runs=runs, fresh=fresh)
    if is_first_process():
        say(f"{run.folder}: {json.dumps(run.result)}")


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
    show(plan_table(made))
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
    from seqrec.recipe import check_recipe, load_recipe

    wanted, changes, options = load_recipe(recipe, overrides or []), overrides or [], option or []
    check_recipe(wanted)
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
