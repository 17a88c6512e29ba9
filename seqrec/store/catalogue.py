"""All items of a store: `item` an index 1..N, `item_id` the string that the log used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seqrec.errors import UnknownIdError, nearest

if TYPE_CHECKING:
    from upath import UPath


class Catalogue:
    """The catalogue table with look-ups in both directions.

    Args:
        table: columns `item` int32 (1..N, ascending), `item_id` string, and any of `count`, `first_seen`, `last_seen`,
            `title`, `category` and further attributes.
    """

    def __init__(self, table: pa.Table):
        self.table = table

    @classmethod
    def read(cls, path: Path | UPath) -> Catalogue:
        """Reads `catalogue.parquet`."""
        with path.open("rb") as file:
            return cls(pq.read_table(file))

    @classmethod
    def of_ids(cls, item_ids: Sequence[str]) -> Catalogue:
        """A catalogue of ids alone; item i is ``item_ids[i - 1]``."""
        return cls(pa.table({"item_id": pa.array(item_ids, pa.string())}))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def item_ids(self) -> list[str]:
        """N strings; ``item_ids[item - 1]`` names ``item``."""
        return self.table.column("item_id").to_pylist()  # type: ignore[no-any-return]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the ids in their order: what an item table's rows stand for."""
        return hashlib.sha256(json.dumps(self.item_ids).encode()).hexdigest()

    @cached_property
    def titles(self) -> list[str] | None:
        """N strings, the item_id where an item has no title; None where the store has no titles."""
        if "title" not in self.table.column_names:
            return None
        titles = pc.coalesce(self.table.column("title"), self.table.column("item_id"))
        return titles.to_pylist()  # type: ignore[no-any-return]

    @cached_property
    def _item_of(self) -> dict[str, int]:
        return {item_id: item for item, item_id in enumerate(self.item_ids, start=1)}

    def encode(self, item_ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Indices 1..N of the given ids.

        Raises:
            UnknownIdError: an id is not in the catalogue.
        """
        ids = list(item_ids)
        unknown = [item_id for item_id in ids if item_id not in self._item_of]
        if unknown:
            near = nearest(unknown[0], self.item_ids) if len(self) <= 100_000 else None
            raise UnknownIdError(
                f"{len(unknown)} of {len(ids)} item ids are not in the catalogue of {len(self):,} items",
                first=repr(unknown[0]) + (f", the nearest known is {near!r}" if near else ""),
                do="leave unknown items out of the history, or prepare a store that has them",
            )
        return np.array([self._item_of[item_id] for item_id in ids], dtype=np.int64)

    def decode(self, items: Iterable[int]) -> list[str]:
        """The ids of indices 1..N."""
        return [self.item_ids[item - 1] for item in items]
