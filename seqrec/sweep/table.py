"""A sweep for the terminal."""

from __future__ import annotations

from rich.console import Group as Together
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from seqrec.sweep.result import SweepResult, TrialResult, value_text

_SHOWN = 20  # settings; the page has all


def sweep_table(result: SweepResult) -> RenderableType:
    """The best settings first; below, which fields matter."""
    table = Table()
    for name in headings(result):
        table.add_column(name, justify="right", no_wrap=True)
    for trial in result.trials[:_SHOWN]:
        table.add_row(*cells(result, trial))
    left = len(result.trials) - _SHOWN
    lines = [f"and {left} worse"] if left > 0 else []
    if result.importances:
        shares = ", ".join(f"{path} {share:.0%}" for path, share in result.importances.items())
        lines.append(f"how much each field tells the best tenth from the rest: {shares}")
    return Together(table, *map(Text, lines))


def headings(result: SweepResult) -> list[str]:
    """Of the columns of `cells`."""
    notes = ["note"] if any(trial.note for trial in result.trials) else []
    return [f"validation {result.metric}", *result.fields, "seconds", "run", *notes]


def cells(result: SweepResult, trial: TrialResult) -> list[str]:
    """A setting's row, as text."""
    value = "-" if trial.value is None else f"{trial.value:.4f}"
    values = (value_text(trial.values[path]) for path in result.fields)
    return [value, *values, f"{trial.seconds:.0f}", trial.name, *([trial.note] if trial.note else [])]
