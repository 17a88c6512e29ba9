"""The folder of a bulk recommendation: parts that are whole or not there, and what they were asked for.

OUT/request.json            what was asked: model, store, k, policy; another request is refused
    part-00000.parquet …    one a window of the store, renamed into place when it is written
    _SUCCESS                counts, written when every part is there
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from seqrec.errors import RunError
from seqrec.settings import Settings

SUCCESS = "_SUCCESS"
_REQUEST = "request.json"
_SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("items", pa.list_(pa.string())),
        pa.field("scores", pa.list_(pa.float32())),
    ]
)


class BulkRequest(Settings):
    """What decides every row of a bulk recommendation; the number of processes does not."""

    model: str = Field(description="SHA-256 over the model's weights.")
    store: str = Field(description="Fingerprint of the store.")
    k: int = Field(ge=1, description="Length of the lists.")
    decoding: dict[str, Any] | None = Field(None, description="How lists are generated; null where items are ranked.")
    diversify: str | None = Field(None, description="How lists are re-ranked, as `mmr:0.7`; null: not at all.")
    seen: Literal["filter", "allow"] = Field(description="Whether items of a user's sequence may be recommended.")
    max_length: int = Field(description="Positions that an input takes.")
    batch_tokens: int = Field(description="Events of a batch, on average; another batch may change last bits.")
    parts: int = Field(description="Files.")


class BulkFolder:
    """One output folder.

    Args:
        path: the folder, which need not exist.
        request: what it is for.
    """

    def __init__(self, path: str | Path, request: BulkRequest):
        self.path = Path(path)
        self.request = request

    def check(self) -> None:
        """Sees that the folder is new, or holds (part of) the same request.

        Raises:
            RunError: it holds another request, or something else.
        """
        file = self.path / _REQUEST
        if not file.is_file():
            # a claim that was cut short has left the request beside its place
            if self.path.exists() and any(other.name != f"{_REQUEST}.tmp" for other in self.path.iterdir()):
                raise RunError(
                    "the folder is not empty and holds no bulk recommendation",
                    where=str(self.path),
                    do="give a new folder by `--out`",
                )
            return
        try:
            found = BulkRequest.model_validate_json(file.read_text())
        except ValidationError as error:
            do = "start over with `--fresh`, or give a new folder by `--out`"
            raise RunError("unreadable", where=str(file), reason=str(error.errors()[0]["msg"]), do=do) from error
        now = self.request.model_dump()
        changes = {name: f"{old} → {now[name]}" for name, old in found.model_dump().items() if old != now[name]}
        if changes:
            raise RunError(
                "the folder holds the recommendations of another request",
                where=str(self.path),
                **changes,
                do="give a new folder by `--out`, or start this one over with `--fresh`",
            )

    def claim(self, *, fresh: bool) -> None:
        """Writes down the request; to be called by one process, before any writes a part.

        Args:
            fresh: throws away what an earlier request left, and nothing else.
        Raises:
            RunError: as `check`.
        """
        if fresh and (self.path / _REQUEST).is_file():
            # the request goes last, so that a start over that is cut short can be started over
            for file in [self.path / SUCCESS, *self.path.glob("part-*.parquet*"), self.path / _REQUEST]:
                file.unlink(missing_ok=True)
        self.check()
        self.path.mkdir(parents=True, exist_ok=True)
        for left in self.path.glob("part-*.parquet.tmp"):
            left.unlink()
        if not (self.path / _REQUEST).is_file():
            self._write_text(_REQUEST, self.request.model_dump_json(indent=2))

    def part(self, number: int) -> Path:
        """Where a part lies once it is whole."""
        return self.path / f"part-{number:05d}.parquet"

    def write(self, number: int, rows: pa.Table) -> None:
        """Writes a part beside its place and renames it, so that a part that is there is whole."""
        temporary = self.part(number).with_suffix(".parquet.tmp")
        pq.write_table(rows.cast(_SCHEMA), temporary, compression="zstd")
        _flush(temporary)
        temporary.replace(self.part(number))

    def finish(self, *, without_history: int) -> int:
        """Writes `_SUCCESS` once every part is there.

        Args:
            without_history: users of the store who have no event, and so no row.
        Returns:
            Users that have a row.
        Raises:
            RunError: a part is missing.
        """
        missing = [n for n in range(self.request.parts) if not self.part(n).is_file()]
        if missing:
            raise RunError(
                f"{len(missing)} of {self.request.parts} parts are missing, the first {self.part(missing[0]).name}",
                where=str(self.path),
                do="run the same command again: it writes what is missing",
            )
        users: int = sum(pq.read_metadata(self.part(n)).num_rows for n in range(self.request.parts))
        counts = {"users": users, "users_without_history": without_history}
        self._write_text(SUCCESS, json.dumps(counts | self.request.model_dump(), indent=2))
        return users

    def _write_text(self, name: str, text: str) -> None:
        temporary = self.path / f"{name}.tmp"
        temporary.write_text(text + "\n", encoding="utf-8")
        _flush(temporary)
        temporary.replace(self.path / name)


def _flush(file: Path) -> None:
    """Puts a file on disk, so that after a loss of power its name never stands for less than its content."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
