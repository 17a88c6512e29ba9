"""Files of item vectors, keyed by item_id.

.parquet      columns `item_id` and `vector`, a list of numbers; others are ignored
.safetensors  a tensor `vectors` (n, V); the ids, in its order, in a JSON list beside it: NAME.json
.npy          an array (n, V); the ids likewise
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from seqrec.errors import FeatureError

Float32 = npt.NDArray[np.float32]

SUFFIXES = (".parquet", ".safetensors", ".npy")
_FIELD = "model.items.vectors"


def read_vectors(path: str | Path, item_ids: Sequence[str]) -> Float32:
    """The vectors of a catalogue's items.

    Args:
        path: a file with a vector for each of them; it may have more.
        item_ids: N ids.
    Returns:
        float32 (N, V).
    Raises:
        FeatureError: it is not such a file, lacks an item, names one twice, or a number is not finite.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise FeatureError(f"not one of {', '.join(SUFFIXES)}", where=f"{_FIELD}: {path}", do="see docs/items.md")
    if not path.is_file():
        raise FeatureError(
            "no such file", where=f"{_FIELD}: {path}", do=f"make one with `seqrec embed RECIPE --out {path}`"
        )
    found, vectors = _from_parquet(path) if path.suffix == ".parquet" else _with_ids_beside(path)
    rows = _rows_of(item_ids, found, path)
    wanted = np.ascontiguousarray(vectors[rows], dtype=np.float32)
    wrong = np.flatnonzero(~np.isfinite(wanted).all(axis=1))
    if len(wrong):
        raise FeatureError(
            f"the vectors of {len(wrong):,} items have numbers that are not finite",
            where=f"{_FIELD}: {path}",
            first=repr(item_ids[wrong[0]]),
            do="repair the file",
        )
    return wanted


def write_vectors(path: str | Path, item_ids: Sequence[str], vectors: Float32) -> None:
    """Writes a .parquet or .safetensors file; it appears whole, and after the ids beside it.

    Raises:
        FeatureError: ids of other vectors lie where those of a .safetensors file would.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.partial")
    check_ids_beside(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        flat = pa.array(np.ascontiguousarray(vectors).ravel(), pa.float32())
        lists = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        pq.write_table(pa.table({"item_id": pa.array(item_ids, pa.string()), "vector": lists}), temporary)
    else:
        temporary.write_text(json.dumps(list(item_ids), ensure_ascii=False), encoding="utf-8")
        temporary.replace(path.with_suffix(".json"))
        save_file({"vectors": np.ascontiguousarray(vectors)}, temporary)
    temporary.replace(path)


def check_ids_beside(path: Path) -> None:
    """Sees that the ids of a .safetensors file have a place of their own, unless they are those of an older one.

    Raises:
        FeatureError: NAME.json is there, and no NAME.safetensors, or NAME.npy takes its ids from it too.
    """
    beside = path.with_suffix(".json")
    if path.suffix != ".safetensors" or not beside.exists():
        return
    if path.with_suffix(".npy").exists() or not path.exists():
        raise FeatureError(
            "the ids of the vectors would take the place of this file",
            where=str(beside),
            do="choose another name, or write a .parquet file, which holds its ids itself",
        )


def _from_parquet(path: Path) -> tuple[list[str], Float32]:
    try:
        table = pq.read_table(path, columns=["item_id", "vector"])
        ids = table.column("item_id").cast(pa.string()).to_pylist()
        lists = table.column("vector").combine_chunks()
        lengths = set(np.unique(lists.value_lengths().fill_null(0).to_numpy()).tolist())
    except (pa.ArrowException, OSError, AttributeError) as error:
        raise FeatureError(
            "not a Parquet file with columns `item_id` and `vector`, a list of numbers",
            where=f"{_FIELD}: {path}",
            reason=str(error).splitlines()[0],
            do="see docs/items.md",
        ) from error
    if len(lengths) > 1 or lengths == {0}:
        raise FeatureError(
            f"its vectors have from {min(lengths)} to {max(lengths)} numbers",
            where=f"{_FIELD}: {path}",
            do="give all of them as many",
        )
    numbers = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return ids, numbers.reshape(len(ids), -1)


def _with_ids_beside(path: Path) -> tuple[list[str], Float32]:
    beside = path.with_suffix(".json")
    try:
        vectors = np.load(path, mmap_mode="r") if path.suffix == ".npy" else load_file(path)["vectors"]
        ids: list[str] = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise FeatureError(
            "there are no vectors with their ids",
            where=f"{_FIELD}: {path}",
            reason=" ".join(str(error).split()),
            expected="an array, in .safetensors a tensor `vectors`, of a row an item; "
            f"its item ids as a JSON list in {beside.name}",
            do="see docs/items.md",
        ) from error
    if vectors.ndim != 2 or len(vectors) != len(ids):
        raise FeatureError(
            f"an array of shape {vectors.shape}, and {len(ids):,} ids in {beside.name}",
            where=f"{_FIELD}: {path}",
            do="give a row for each id",
        )
    return ids, vectors


def _rows_of(item_ids: Sequence[str], found: list[str], path: Path) -> npt.NDArray[np.int64]:
    row_of = {item_id: row for row, item_id in enumerate(found)}
    if len(row_of) < len(found):
        twice = next(item_id for item_id, times in Counter(found).items() if times > 1)
        raise FeatureError(
            f"{len(found) - len(row_of):,} ids occur more than once",
            where=f"{_FIELD}: {path}",
            first=repr(twice),
            do="keep one vector an item",
        )
    missing = [item_id for item_id in item_ids if item_id not in row_of]
    if missing:
        raise FeatureError(
            f"{len(missing):,} of {len(item_ids):,} items of the catalogue have no vector",
            where=f"{_FIELD}: {path}",
            first=", ".join(map(repr, missing[:3])),
            has=f"{len(found):,} vectors, the first of {found[0]!r}" if found else "no vectors",
            do="add them, or make the file anew with `seqrec embed`",
        )
    return np.array([row_of[item_id] for item_id in item_ids], dtype=np.int64)
