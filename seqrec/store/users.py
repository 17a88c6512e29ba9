"""Attributes of users, from the text that a store has to the integers that a model reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqrec.errors import FeatureError, RecipeError, nearest
from seqrec.store.manifest import Manifest
from seqrec.store.store import SequenceStore
from seqrec.users import UNIT, Scale, UserSettings, UserValues

Int32 = npt.NDArray[np.int32]
_FARTHEST = 1000.0  # standard deviations; what lies beyond is as far


def check_user_columns(settings: UserSettings | UserValues, manifest: Manifest, *, where: str) -> None:
    """Sees that a store has what is asked of its users.

    Raises:
        RecipeError: it lacks a column; names the nearest.
    """
    for name in settings.columns:
        if name not in manifest.user_attributes:
            near = nearest(name, manifest.user_attributes)
            raise RecipeError(
                f"the store knows no `{name}` of its users",
                where="model.users",
                store=where,
                has=", ".join(f"`{column}`" for column in manifest.user_attributes) or "no attributes of users",
                do=f"did you mean `{near}`?" if near else "prepare it with a table of them (`logs.users`)",
            )


def read_user_values(settings: UserSettings, store: SequenceStore) -> UserValues:
    """What the attributes are, over all users of a store; reads the named columns once, a unit at a time.

    Raises:
        FeatureError: a cell is not a number, or nobody has a value.
    """
    values: dict[str, set[str]] = {name: set() for name in settings.categories}
    sums = {name: np.zeros(3) for name in settings.numbers}
    for unit in store.units:
        table = store.read_table(unit, columns=settings.columns)
        for name, found in values.items():
            found.update(pc.unique(table.column(name).drop_null()).to_pylist())
        for name, found_sums in sums.items():
            known = _floats(table.column(name), name)
            known = known[np.isfinite(known)]
            found_sums += [len(known), known.sum(), np.square(known).sum()]
    nobody = [name for name, found in values.items() if not found] + [name for name, s in sums.items() if not s[0]]
    if nobody:
        raise FeatureError("no user has a value", where=f"model.users: {nobody[0]}", do="leave it out")
    return UserValues(
        categories={name: sorted(found) for name, found in values.items()},
        numbers={name: _scale(*found_sums) for name, found_sums in sums.items()},
    )


def encode_users(values: UserValues, attributes: Mapping[str, pa.Array | pa.ChunkedArray], n_users: int) -> Int32:
    """Attributes as `UserValues` writes them.

    Args:
        values: what they can be.
        attributes: by column text (n,), null where it is not known; a column that is not there is not known.
        n_users: n.
    Returns:
        int32 (n, F).
    Raises:
        FeatureError: a cell is not a number.
    """
    found = np.zeros((n_users, len(values.columns)), dtype=np.int32)
    for at, name in enumerate(values.columns):
        if name not in attributes:
            continue
        column = attributes[name]
        if name in values.categories:
            places = pc.index_in(column, value_set=pa.array(values.categories[name], pa.string()))
            found[:, at] = pc.add(places.fill_null(-1), 1).to_numpy()
        else:
            scale = values.numbers[name]
            standard = np.clip((_floats(column, name) - scale.mean) / scale.deviation, -_FARTHEST, _FARTHEST)
            found[:, at] = np.rint(np.nan_to_num(standard * UNIT)).astype(np.int32)
    return found


def _floats(column: pa.Array | pa.ChunkedArray, name: str) -> npt.NDArray[np.float64]:
    """float64 (n,), NaN where there is nothing."""
    try:
        floats: npt.NDArray[np.float64] = np.array(pc.cast(column, pa.float64()), dtype=np.float64)
        return floats
    except pa.ArrowInvalid as error:
        raise FeatureError(
            "a cell is not a number",
            where=f"model.users.numbers: {name}",
            reason=str(error).splitlines()[0],
            do="name it in `categories`, or repair the table",
        ) from error


def _scale(n: float, total: float, squares: float) -> Scale:
    mean = total / n
    return Scale(mean=mean, deviation=max(squares / n - mean**2, 0.0) ** 0.5 or 1.0)
