"""Item vectors in an index for approximate search."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

_NEIGHBOURS = 32
_BUILD, _SEARCH = 200, 128  # candidates kept while building and while searching


def write_index(vectors: Tensor, file: Path) -> None:
    """Writes a graph index (HNSW, Malkov & Yashunin 2018) of inner products, as faiss opens it.

    Args:
        vectors: float (N, D); entry i - 1 of the index is item i.
        file: to write.
    """
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = _BUILD, _SEARCH
    index.add(vectors.detach().float().cpu().numpy())
    faiss.write_index(index, str(file))
