"""Training in a process of its own, for programs that train many recipes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from seqrec.errors import AdapterError, BackboneError, RecipeError, TrainingError, UnsupportedError
from seqrec.recipe.load import dump_recipe
from seqrec.recipe.run import Run, write_text
from seqrec.recipe.schema import Recipe

_REFUSED = tuple(f"{error.__name__}: " for error in (RecipeError, UnsupportedError, AdapterError, BackboneError))


def fit_in_process(recipe: Recipe, folder: Path) -> Run | None:
    """Trains a recipe by `seqrec fit`, whose memory is then nobody else's; goes on where it was interrupted.

    Args:
        recipe: what to train.
        folder: gets runs/NAME, recipes/NAME.yaml, which it is started with, and logs/NAME.log, which it prints to.
    Returns:
        The run; None where its loss was not finite.
    Raises:
        RecipeError: the recipe's values do not go together, which was only seen when the model was built.
        TrainingError: training ended with another error.
    """
    file, log = folder / "recipes" / f"{recipe.name}.yaml", folder / "logs" / f"{recipe.name}.log"
    for path in (file, log):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, dump_recipe(recipe))
    command = [sys.executable, "-m", "seqrec", "fit", str(file), "--runs", str(folder / "runs")]
    with log.open("w") as output:
        process = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
    if process.returncode == 0:
        return Run.open(folder / "runs" / recipe.name)
    said = log.read_text().strip().splitlines()
    if any(line.startswith(TrainingError.__name__) and "the loss is" in line for line in said):
        return None
    if refused := next((line for line in said if line.startswith(_REFUSED)), None):
        raise RecipeError(refused.partition(": ")[2], log=str(log))
    raise TrainingError("training ended with an error", where=recipe.name, said="\n    ".join(said[-8:]), log=str(log))
