"""How good semantic ids are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor


@dataclass(frozen=True)
class LevelReport:
    """Codes of a level.

    Attributes:
        size: codes that it has.
        used: codes that an item has.
        perplexity: codes that would be used alike for the same entropy.
    """

    size: int
    used: int
    perplexity: float


@dataclass(frozen=True)
class TokenizerReport:
    """Ids of a catalogue.

    Attributes:
        items: items, each with an id of its own.
        levels: a report each.
        ids_before: different ids when each item has its nearest codes.
        moved: items that were given others, so that no two share an id.
        error_before, error_after: squared distance of vectors from what their ids stand for, as a share of that from
            the mean vector.
    """

    items: int
    levels: list[LevelReport]
    ids_before: int
    moved: int
    error_before: float
    error_after: float

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def report_table(report: TokenizerReport) -> RenderableType:
    """For the terminal."""
    table = Table("level", "codes", "used", "perplexity")
    for number, level in enumerate(report.levels, start=1):
        table.add_row(str(number), f"{level.size:,}", f"{level.used:,}", f"{level.perplexity:,.1f}")
    lines = [
        f"ids    {report.items:,}, one an item; {report.ids_before:,} before {report.moved:,} items were moved",
        f"error  {report.error_after:.4f} of the vectors' variance; {report.error_before:.4f} before",
    ]
    return Group(table, *map(Text, lines))


def level_reports(codes: Tensor, sizes: Sequence[int]) -> list[LevelReport]:
    """One a level, of codes int64 (N, m)."""
    found = []
    for level, size in enumerate(sizes):
        counts = torch.bincount(codes[:, level], minlength=size).double()
        shares = counts[counts > 0] / counts.sum()
        entropy = -(shares * shares.log()).sum()
        found.append(LevelReport(size, int((counts > 0).sum()), float(entropy.exp())))
    return found
