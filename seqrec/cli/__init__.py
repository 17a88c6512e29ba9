"""The `seqrec` command: one function a verb, no logic of its own.

Heavy packages are imported inside the verbs, so that `seqrec --help` answers at once.
"""

# each adds its verbs, in the order of `seqrec --help`
# isort: off
from seqrec.cli import data as _data  # noqa: F401
from seqrec.cli import training as _training  # noqa: F401
from seqrec.cli import sweep as _sweep  # noqa: F401
from seqrec.cli import benchmark as _benchmark  # noqa: F401
from seqrec.cli import results as _results  # noqa: F401
# isort: on

from seqrec.cli.app import app, main

__all__ = ["app", "main"]
