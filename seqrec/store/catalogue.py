"""All items of a store: `item` an index 1..N, `item_id` the string that the log used."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seqrec.errors import RecipeError, UnknownIdError, nearest

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

    def values_of(self, columns: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
        """What items have in common: the values of some columns that two items or more have.

        Args:
            columns: names of text columns; a cell holds a value, several with `|` between, or none. Equal values of
                two columns are different ones.
        Returns:
            values int64 (M,), numbered from 0 in the order of the catalogue; offsets int64 (N + 1,), those of item i
            are ``values[offsets[i - 1]:offsets[i]]``; and how many different values there are.
        Raises:
            RecipeError: no such column, or no value that two items share.
        """
        for column in columns:
            self._check_text(column)
        cells = zip(*(self.table.column(column).to_pylist() for column in columns), strict=True)
        rows = [
            {(column, value): None for column, cell in zip(columns, row, strict=True) for value in _split(cell)}
            for row in cells
        ]
        counts = Counter(value for row in rows for value in row)
        number = {value: i for i, value in enumerate(value for value, n in counts.items() if n > 1)}
        if not number:
            raise RecipeError(
                f"no two items share a value of {', '.join(columns)}",
                where="model.items.attributes",
                do="name columns as `category`, whose values group items",
            )
        shared = [[number[value] for value in row if value in number] for row in rows]
        offsets = np.cumsum([0, *map(len, shared)], dtype=np.int64)
        return np.fromiter(chain.from_iterable(shared), np.int64, offsets[-1]), offsets, len(number)

    def _check_text(self, column: str) -> None:
        texts = [field.name for field in self.table.schema if pa.types.is_string(field.type)]
        if column not in texts:
            near = nearest(column, texts)
            raise RecipeError(
                f"the catalogue has no text column `{column}`" + (f" (did you mean `{near}`?)" if near else ""),
                where="model.items.attributes",
                has=", ".join(texts),
                do="name one of them; `seqrec prepare` adds columns from `logs.items`",
            )

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


def _split(cell: str | None) -> list[str]:
    return [value for part in (cell or "").split("|") if (value := part.strip())]
