"""Recipe files: what they may say, and what is built from them."""

from seqrec.recipe.build import (
    Parts,
    build,
    build_data,
    build_recipe_model,
    check_recipe,
    history_text,
    item_features,
)
from seqrec.recipe.compare import check_comparable, compare_runs, evaluate_run
from seqrec.recipe.consolidate import consolidate
from seqrec.recipe.curve import logged_rows, training_curve
from seqrec.recipe.fit_process import fit_in_process
from seqrec.recipe.fitting import fit
from seqrec.recipe.load import dump_recipe, load_recipe, parse_recipe, parse_value, with_seed
from seqrec.recipe.processes import is_first_process
from seqrec.recipe.run import Run, write_text
from seqrec.recipe.schema import Recipe
from seqrec.recipe.seeds import fit_seeds
from seqrec.recipe.stores import ensure_store
from seqrec.recipe.tokenize import tokenize
from seqrec.recipe.trained import Trained, export_run, open_trained

__all__ = [
    "Parts",
    "Recipe",
    "Run",
    "Trained",
    "build",
    "build_data",
    "build_recipe_model",
    "check_comparable",
    "check_recipe",
    "compare_runs",
    "consolidate",
    "dump_recipe",
    "ensure_store",
    "evaluate_run",
    "export_run",
    "fit",
    "fit_in_process",
    "fit_seeds",
    "history_text",
    "is_first_process",
    "item_features",
    "load_recipe",
    "logged_rows",
    "open_trained",
    "parse_recipe",
    "parse_value",
    "tokenize",
    "training_curve",
    "with_seed",
    "write_text",
]
