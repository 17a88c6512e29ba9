"""The verb that searches a recipe's values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqrec.cli.app import Overrides, RecipeFile, app
from seqrec.quiet import quiet_packages
from seqrec.terminal import say, show


@app.command()
def sweep(
    recipe: RecipeFile,
    overrides: Overrides = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            help="A field to search, repeatable: `PATH=LOW..HIGH`, or `PATH=ONE,OTHER`. Both ends belong to a range; "
            "two integers give integers; ends that lie a factor of ten or more apart are searched in logarithms.",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Settings to try in all, those of earlier calls included.")] = 20,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the sweep; NAME-sweep by default.", show_default=False)
    ] = None,
) -> None:
    """Search the values of a recipe's fields that validate best, with Optuna.

    The recipe's own values are tried first; each setting is trained in a run folder of its own. The same command goes
    on where it stopped, and several at once, as an array of Slurm, share the work. OUT/best.yaml is the recipe with the
    best values so far: the best of many is good by luck too, so train it with several seeds.

    Example: `seqrec sweep recipes/amazon-beauty-causal.yaml --over optimizer.lr=1e-4..1e-2 --over
    model.backbone.layers=1,2,4`
    """
    from seqrec.recipe import load_recipe
    from seqrec.sweep import sweep, sweep_table, write_page

    quiet_packages()
    folder = out or Path(f"{load_recipe(recipe, overrides or []).name}-sweep")
    result = sweep(recipe, over or [], folder, overrides=overrides or [], trials=trials, say=say)
    show(sweep_table(result))
    say(f"open {write_page(folder / 'index.html', result)}; next: seqrec fit {folder / 'best.yaml'} --seed 1 --seed 2")
