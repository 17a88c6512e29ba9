"""What is trained: each method at each budget of parameters, as a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seqrec.errors import AdapterError, SeqrecError, UnsupportedError
from seqrec.models import PretrainedBackboneSettings, load_backbone
from seqrec.models.backbones import usable_positions
from seqrec.peft_benchmark.methods import METHODS
from seqrec.recipe import Recipe, check_recipe, parse_recipe

_SHARE = 0.01  # of the backbone's parameters, where no budget is given


@dataclass(frozen=True)
class Experiment:
    """A method at a budget.

    Attributes:
        name: of the method, with the budget where there are several.
        method: key of `METHODS`.
        size: of its adapter.
        parameters: of its adapter; those of the whole backbone where that is trained.
        recipe: without seed and learning rate of its own.
    """

    name: str
    method: str
    size: int
    parameters: int
    recipe: Recipe

    def run(self, lr: float, seed: int) -> Recipe:
        """The recipe of one run."""
        name = f"{self.name}-lr{lr:g}-seed{seed}".replace("+", "")  # of 1e+30, as names of runs have none
        optimizer = self.recipe.optimizer.model_copy(update={"lr": lr})
        return self.recipe.model_copy(update={"name": name, "seed": seed, "optimizer": optimizer})


def make_experiments(
    recipe: Recipe, methods: Sequence[str] | None = None, budgets: Sequence[int] = ()
) -> tuple[list[Experiment], dict[str, str]]:
    """The experiments of a benchmark.

    Args:
        recipe: backbone, data, head and length of training; its own adapter takes no part.
        methods: keys of `METHODS`; None for all that fit the backbone.
        budgets: of the adapter's parameters; empty for a hundredth of the backbone's.
    Returns:
        The experiments, and for each method that does not fit why.
    Raises:
        UnsupportedError: a method that is not known.
        AdapterError, RecipeError and others: a method that was asked for does not fit.
    """
    if unknown := [name for name in methods or () if name not in METHODS]:
        raise UnsupportedError(
            f"no method is called {', '.join(f'`{name}`' for name in unknown)}",
            where="--methods",
            known=", ".join(f"`{name}`" for name in METHODS),
        )
    frozen = _changed(recipe, "benchmark", None, trainable=False)
    base = load_backbone(frozen.model.backbone, positions=recipe.data.max_length)
    room = recipe.data.max_length  # for virtual positions: a backbone from scratch gets as many as are asked for
    if isinstance(recipe.model.backbone, PretrainedBackboneSettings):
        room = min(room, usable_positions(base) - recipe.data.max_length)
    words = base.get_input_embeddings().weight  # item vectors take its place
    whole = sum(parameter.numel() for parameter in base.parameters() if parameter is not words)
    wanted = list(dict.fromkeys(budgets)) or [max(1, round(_SHARE * whole))]
    found: list[Experiment] = []
    left_out: dict[str, str] = {}
    for name in methods or METHODS:
        method = METHODS[name]
        for budget in wanted if method.sized else wanted[:1]:
            full_name = f"{name}-{budget}" if method.sized and len(wanted) > 1 else name
            try:
                size = method.size_for(budget, base, most_tokens=room)
                made = _changed(recipe, full_name, method.adapter(size), trainable=method.trains_backbone)
                check_recipe(made)
            except SeqrecError as error:
                if methods is not None:
                    raise
                left_out[full_name] = str(error).splitlines()[0]
                continue
            if any((other.method, other.size) == (name, size) for other in found):
                continue  # two budgets so close that they have one size
            parameters = whole if method.trains_backbone else method.parameters(base, size)
            found.append(Experiment(full_name, name, size, parameters, made))
    if not found:
        raise AdapterError("no method fits the backbone", where="model.backbone", **left_out)
    return found, left_out


def _changed(recipe: Recipe, name: str, adapter: Any, *, trainable: bool) -> Recipe:
    values = recipe.model_dump(mode="json")
    values["name"] = name
    values["model"]["adapter"] = None if adapter is None else adapter.model_dump(mode="json")
    values["model"]["backbone"]["trainable"] = trainable
    values["selection"]["patience"] = None  # all train equally long, and AdaLoRA's schedule needs its end
    values["trainer"]["enable_progress_bar"] = False
    values["loggers"] = [{"kind": "csv"}]  # what speeds are read from
    return parse_recipe(values, where=f"benchmark peft, {name}")
