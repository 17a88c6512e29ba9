"""A catalogue's texts to a file of vectors, in parts, so that what was done before an interruption is kept."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
from rich.progress import track

from seqrec.errors import FeatureError
from seqrec.features.text import TextEncoder, item_texts
from seqrec.features.vector_files import check_ids_beside, write_vectors
from seqrec.store import Catalogue

_PART = 1024  # items
_WRITTEN = (".parquet", ".safetensors")


def embed_items(
    catalogue: Catalogue,
    out: str | Path,
    *,
    template: str,
    source: str,
    max_tokens: int,
    progress: bool = False,
) -> Path:
    """Writes a vector for each item's text.

    The same call again goes on where an interrupted one was, part by part, in OUT.parts beside the file.

    Args:
        catalogue: of N items.
        out: a .parquet or .safetensors file; see `vector_files`.
        template: of an item's text; see `item_texts`.
        source, max_tokens: of the encoder; see `TextEncoder`.
        progress: shows a bar.
    Returns:
        The file.
    Raises:
        FeatureError: the file exists, has another suffix, or its ids would take another file's place.
        RecipeError, BackboneError: the template or the encoder does not fit.
    """
    out = Path(out)
    if out.suffix not in _WRITTEN:
        raise FeatureError(f"not one of {', '.join(_WRITTEN)}", where=f"--out {out}", do="name the file so")
    if out.exists():
        raise FeatureError("the file exists", where=f"--out {out}", do="remove it, or choose another")
    check_ids_beside(out)
    texts = item_texts(catalogue, template, setting="--template")
    encoder = TextEncoder(source, max_tokens)
    parts = out.with_name(f"{out.name}.parts")
    _claim(parts, hashlib.sha256(json.dumps([source, max_tokens, texts]).encode()).hexdigest())
    starts = range(0, len(texts), _PART)
    files = [parts / f"{start:09}.npy" for start in starts]
    for start, file in track(list(zip(starts, files, strict=True)), description="texts", disable=not progress):
        if not file.is_file():
            with file.with_suffix(".tmp").open("wb") as opened:
                np.save(opened, encoder(texts[start : start + _PART]).numpy())
            file.with_suffix(".tmp").replace(file)
    write_vectors(out, catalogue.item_ids, np.concatenate([np.load(file) for file in files]))
    shutil.rmtree(parts)
    return out


def _claim(parts: Path, digest: str) -> None:
    """Makes the folder of parts, or empties one that others texts or another encoder were for."""
    mark = parts / "sha256"
    if parts.exists() and not (mark.is_file() and mark.read_text() == digest):
        shutil.rmtree(parts)
    parts.mkdir(parents=True, exist_ok=True)
    mark.write_text(digest)
