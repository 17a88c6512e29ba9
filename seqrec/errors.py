"""Everything seqrec raises on purpose.

    SeqrecError
    ├── RecipeError          a recipe file, an override or a setting is wrong
    │   └── UnsupportedError  each part is right, but they do not work together
    ├── LogError             a raw event log cannot be read as told
    │   ├── ColumnError      a column is missing
    │   └── TimestampError   times do not parse in the unit given
    ├── FeatureError         what is told of items cannot be read, or does not fit the catalogue
    ├── StoreError           a folder is not a (whole) sequence store
    ├── BackboneError        a backbone is unknown or cannot be loaded
    ├── AdapterError         an adapter does not fit its backbone
    ├── TokenizerError       semantic ids cannot be made, or a folder does not hold them
    ├── UnknownIdError       an item_id or user_id is not in the catalogue or store
    ├── RunError             a run folder cannot be continued or read
    │   └── PreemptedError   training was told to stop, has saved, and can be continued
    ├── TrainingError        training cannot go on: a rank is lost, or a loss is not finite
    ├── LaunchError          what a scheduler has started, or is to start, does not fit the recipe
    ├── MetricError          scores that cannot be ranked, as NaN
    ├── BundleError          an export that is not faithful, or a folder that is not a bundle
    └── MissingExtraError    an optional dependency is not installed

Each message says what is wrong, where, and what to do, one fact a line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class SeqrecError(Exception):
    """Base class: a headline ``where: what`` followed by labelled lines.

    Args:
        what: what is wrong, with the value that is wrong.
        where: file, column, row or recipe field; put before ``what``.
        do: what the reader should do next; the last line.
        **facts: further labelled lines, in the order given (``first="row 2 …"``).

    Attributes:
        exit_code: what the command line exits with.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, do: str | None = None, **facts: str):
        lines = [f"{where}: {what}" if where else what]
        labelled = {**facts, **({"do": do} if do else {})}
        width = max((len(label) for label in labelled), default=0) + 1
        lines += [f"  {label + ':':<{width}} {text}" for label, text in labelled.items()]
        super().__init__("\n".join(lines))

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the repr


class RecipeError(SeqrecError, ValueError):
    """A recipe file, an override or a setting is wrong."""


class UnsupportedError(RecipeError):
    """Settings that are right one by one but do not work together."""


class LogError(SeqrecError, ValueError):
    """A raw event log cannot be read as told."""


class ColumnError(LogError):
    """A column that the settings name is not in the file."""

    @classmethod
    def missing(cls, column: str, *, file: str, available: Iterable[str], setting: str) -> ColumnError:
        """Names the column, those that the file has, and the setting to change."""
        names = list(available)
        return cls(
            f"no column `{column}`",
            where=file,
            has=", ".join(f"`{name}`" for name in names),
            do=f"set `{setting}`" + (f" (did you mean `{near}`?)" if (near := nearest(column, names)) else ""),
        )


class TimestampError(LogError):
    """Times do not parse, or fall where no log lies, in the unit given."""


class FeatureError(SeqrecError, ValueError):
    """What is told of items cannot be read, or does not fit the catalogue."""


class StoreError(SeqrecError, ValueError):
    """A folder is not a sequence store, or not a whole one."""


class BackboneError(SeqrecError, ValueError):
    """A backbone is unknown or cannot be loaded."""


class AdapterError(SeqrecError, ValueError):
    """An adapter does not fit its backbone."""


class TokenizerError(SeqrecError, ValueError):
    """Semantic ids cannot be made, or a folder does not hold those of a catalogue."""

    @classmethod
    def unreadable(cls, file: Path, reason: object) -> TokenizerError:
        """Says which file, and how it is made."""
        return cls(
            "no semantic ids can be read from here",
            where=str(file),
            reason=str(reason),
            do="make them with `seqrec tokenize RECIPE`",
        )


class UnknownIdError(SeqrecError, KeyError):
    """An item_id is not in the catalogue, or a user_id not in the store."""


class RunError(SeqrecError, RuntimeError):
    """A run folder cannot be continued or read."""


class PreemptedError(RunError):
    """Training was told to stop, has saved at the end of a step, and goes on when it is started again.

    Its exit code is sysexits.h's EX_TEMPFAIL, "try again": nothing else of the command line exits with it.
    """

    exit_code = 75


class TrainingError(SeqrecError, RuntimeError):
    """Training cannot go on: a rank is lost, or a loss is not finite."""


class LaunchError(SeqrecError, RuntimeError):
    """Processes, nodes or devices of a scheduler do not fit the recipe, or it cannot be asked for them."""


class MetricError(SeqrecError, ValueError):
    """Scores that cannot be ranked."""

    @classmethod
    def of_nan(cls, some: int, every: int, what: str, **facts: str) -> MetricError:
        """Says that so many of every ``what`` are NaN, where, and what to look for."""
        return cls(
            f"{some:,} of {every:,} {what} are NaN",
            **facts,
            do="look for a NaN in the checkpoint's weights: training has diverged, or a precision is too low",
        )


class BundleError(SeqrecError, ValueError):
    """An export that does not reproduce its model, or a folder that is not a bundle."""


class MissingExtraError(SeqrecError, ImportError):
    """An optional dependency is not installed."""

    @classmethod
    def of(cls, package: str, *, extra: str, needed_for: str) -> MissingExtraError:
        """Names the package and the extra that brings it."""
        return cls(f"{needed_for} needs the package `{package}`", do=f"pip install 'seqrec[{extra}]'")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, or None where nothing is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)
