"""A search for the values of a recipe that validate best."""

from importlib.util import find_spec

from seqrec.errors import MissingExtraError

if find_spec("optuna") is None:
    raise MissingExtraError.of("optuna", extra="sweep", needed_for="`seqrec sweep`")

from seqrec.sweep.page import write_page
from seqrec.sweep.result import SweepResult, TrialResult
from seqrec.sweep.run import sweep
from seqrec.sweep.space import Choices, Range, parse_space
from seqrec.sweep.table import sweep_table

__all__ = ["Choices", "Range", "SweepResult", "TrialResult", "parse_space", "sweep", "sweep_table", "write_page"]
