"""Each user's target rank, as a Parquet file beside the metrics: what two evaluations of the same users are paired by.

One row an evaluated user, in the store's order: `user_id`, and for the model and each baseline the rank of the target
from 0 as uint8, 255 for a miss. The file's metadata say what was evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from seqrec.errors import RunError
from seqrec.evaluation.tally import MISS
from seqrec.store import SequenceStore

_ABOUT = b"seqrec"
_ROW_GROUP = 2**20


class UserRanks(NamedTuple):
    """What a file holds.

    Attributes:
        ranks: uint8 (users,) for the model and each baseline.
        about: what was evaluated, as JSON values.
    """

    ranks: dict[str, npt.NDArray[np.uint8]]
    about: dict[str, Any]


def write_user_ranks(
    path: Path, store: SequenceStore, rank_of_user: Mapping[str, npt.NDArray[np.uint8]], about: Mapping[str, Any]
) -> None:
    """Writes the file beside its place and renames it; a unit of the store at a time.

    Args:
        path: the file.
        store: whose users they are.
        rank_of_user: of an `EvaluationResult`.
        about: JSON values.
    """
    fields = [pa.field("user_id", pa.string(), nullable=False), *(pa.field(name, pa.uint8()) for name in rank_of_user)]
    schema = pa.schema(fields, metadata={_ABOUT: json.dumps(dict(about))})
    temporary = path.with_name(path.name + ".tmp")
    evaluated = next(iter(rank_of_user.values())) > 0
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for unit in store.units:
            rows = slice(unit.first_row, unit.first_row + unit.rows)
            chosen = evaluated[rows]
            ids = store.read_table(unit, columns=["user_id"]).column("user_id").filter(pa.array(chosen))
            ranks = [_from_zero(found[rows][chosen]) for found in rank_of_user.values()]
            writer.write_table(pa.table([ids, *ranks], schema=schema), row_group_size=_ROW_GROUP)
    temporary.replace(path)


def _from_zero(ranks: npt.NDArray[np.uint8]) -> pa.Array:
    return pa.array(np.where(ranks == MISS, MISS, ranks - 1).astype(np.uint8))


def read_user_ranks(path: Path) -> UserRanks:
    """Reads what `write_user_ranks` wrote, the user ids aside.

    Raises:
        RunError: it cannot be read.
    """
    try:
        schema = pq.read_schema(path)
        table = pq.read_table(path, columns=[name for name in schema.names if name != "user_id"])
        about = json.loads(schema.metadata[_ABOUT])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RunError("unreadable", where=str(path), reason=reason, do="evaluate the run again") from error
    return UserRanks({name: table.column(name).to_numpy() for name in table.column_names}, about)
