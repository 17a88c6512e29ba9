"""The `seqrec` command: one function a verb, no logic of its own.

Heavy packages are imported inside the verbs, so that `seqrec --help` answers at once.
"""

from seqrec.cli import data, training, results  # isort: skip  # the order of verbs in `seqrec --help`
from seqrec.cli.app import app, main

__all__ = ["app", "data", "main", "results", "training"]
