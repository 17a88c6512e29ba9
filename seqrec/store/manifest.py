"""What `manifest.json` says about a sequence store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from seqrec.errors import RecipeError, nearest
from seqrec.settings import Settings

MANIFEST = "manifest.json"
FORMAT_VERSION = 2  # 1 had neither `size_bytes` nor `unit_rows`; it is read too
UNIT_ROWS = 4096  # rows a row group; a unit of streaming is one row group


class SourceFile(Settings):
    """A raw file that the store was made from."""

    path: str = Field(description="Path as given, relative to the log root where there is one.")
    size_bytes: int = Field(description="Size of the file.")
    sha256: str = Field(description="SHA-256 of the file's bytes.")


class Shard(Settings):
    """One Parquet file of sequences."""

    file: str = Field(description="Path inside the store.")
    rows: int = Field(description="Users in the shard; may be 0.")
    events: int = Field(description="Events in the shard.")
    size_bytes: int = Field(description="Size of the file.")
    sha256: str = Field(description="SHA-256 of the file's bytes.")
    unit_rows: list[int] = Field(description="Users in each row group.")


class Counts(Settings):
    """How much the store holds, and how much was refused."""

    users: int = Field(description="Sequences.")
    items: int = Field(description="Catalogue rows.")
    events: int = Field(description="Events in all sequences.")
    rejected: int = Field(description="Source rows refused, all reasons together.")


class Manifest(Settings):
    """Contents of `manifest.json`."""

    format_version: int = Field(FORMAT_VERSION, description="Version of this layout.")
    fingerprint: str = Field(description="SHA-256 over catalogue and shard hashes: equal content, equal fingerprint.")
    sources: list[SourceFile] = Field(description="Raw files, in the order read.")
    settings: dict[str, Any] = Field(description="The preparation settings (`logs` section of the recipe).")
    counts: Counts = Field(description="Users, items, events, rejected rows.")
    rejected: dict[str, int] = Field(description="Rejected source rows by reason.")
    dropped: dict[str, int] = Field(description="Valid events left out by cleaning rules, by rule.")
    has_time: bool = Field(description="False where the log gave order only; `timestamps` is then null.")
    actions: list[str] = Field(description="Names of the action codes 0..; empty where the log has no actions.")
    has_values: bool = Field(description="Whether `values` is filled.")
    context: list[str] = Field(description="Names of further per-event columns, stored as list<string>.")
    ties: float | None = Field(description="Share of a user's neighbouring events with equal time; null without times.")
    time_percentiles: list[int] | None = Field(
        description="101 values, the 0th..100th percentile (discrete) of event time in µs; null without times."
    )
    shards: list[Shard] = Field(description="Shard files in row order.")

    def action_codes(self, names: Sequence[str], *, setting: str) -> list[int]:
        """Codes of action types.

        Args:
            names: of the types.
            setting: what names them, for errors.
        Raises:
            RecipeError: the log had no such action.
        """
        for name in names:
            if name not in self.actions:
                near = nearest(name, self.actions)
                raise RecipeError(
                    f"the store has no action {name!r}" + (f" (did you mean {near!r}?)" if near else ""),
                    where=setting,
                    has=", ".join(self.actions) or "no actions at all",
                    do="name actions of the log",
                )
        return [self.actions.index(name) for name in names]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
