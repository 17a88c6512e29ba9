"""Verbs that train many recipes to compare them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqrec.cli.app import Overrides, RecipeFile, app
from seqrec.quiet import quiet_packages
from seqrec.terminal import say, show

benchmark = typer.Typer(no_args_is_help=True, help="Compare what a recipe leaves open, by training it.")
app.add_typer(benchmark, name="benchmark")


@benchmark.command()
def peft(
    recipe: RecipeFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the benchmark; NAME-peft by default.", show_default=False)
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: full, head_only, lora, rslora, pissa, dora, adalora, vera, ia3, oft, layer_norm, "
            "bottleneck, prefix, prompt; all that fit the backbone by default.",
            show_default=False,
        ),
    ] = None,
    parameters: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            help="Trainable parameters of an adapter, which sizes are chosen by; repeatable. By default a hundredth of "
            "the backbone's.",
            show_default=False,
        ),
    ] = None,
    lr: Annotated[
        list[float] | None,
        typer.Option(
            help="A learning rate to try; repeatable. By default the recipe's, a third of it and three times it.",
            show_default=False,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Train every method for so long, in the steps that it takes in it, instead of the recipe's length.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(min=0, help="Repeatable; 1 and 2 by default.")] = None,
) -> None:
    """Compare methods of fine-tuning on a recipe's backbone and data: quality, costs, what the backbone forgets.

    Every method trains as long as the recipe or `--minutes` says, with each learning rate; the best by validation
    trains with all seeds. The same command goes on where it stopped, and several at once, as an array of Slurm, share
    the work.

    Example: `seqrec benchmark peft recipes/amazon-beauty-minilm-lora.yaml --methods full,lora,ia3 trainer.max_epochs=2`
    """
    from seqrec.peft_benchmark import benchmark_peft, benchmark_table, write_page
    from seqrec.recipe import load_recipe

    quiet_packages()
    wanted = load_recipe(recipe, overrides or [])
    folder = out or Path(f"{wanted.name}-peft")
    result = benchmark_peft(
        wanted,
        folder,
        methods=None if methods is None else [name.strip() for name in methods.split(",")],
        budgets=parameters or (),
        learning_rates=lr or (),
        seeds=seed or (1, 2),
        minutes=minutes,
        say=say,
    )
    if result is not None:
        show(benchmark_table(result))
        say(f"open {write_page(folder / 'index.html', result)}")
