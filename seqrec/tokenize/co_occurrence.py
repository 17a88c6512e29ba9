"""Collaborative item vectors from what is trained on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import svds
from torch import Tensor

from seqrec.errors import TokenizerError
from seqrec.random import raw_bits
from seqrec.store import Sequences
from seqrec.tokenize.settings import CoOccurrenceVectorSettings

_NOTHING = 1e-5  # lengths below it are rounding


def co_occurrence_vectors(sequences: Iterable[Sequences], n_items: int, settings: CoOccurrenceVectorSettings) -> Tensor:
    """Left singular vectors of positive pointwise mutual information, times the roots of their values, to unit length.

    Two events of a sequence count by one over how far they lie apart; repeats of one item do not. Without the unit
    length the few items that are met with many others would take most clusters.

    Args:
        sequences: what is trained on, and nothing else.
        n_items: items of the catalogue, N.
        settings: width and window.
    Returns:
        float32 (N, D); 0 for items that are met with no other. D is the width, or fewer where N is not above it.
    Raises:
        TokenizerError: no item is met with another.
    Source: Levy and Goldberg 2014, "Neural word embedding as implicit matrix factorization".
    """
    counts = sparse.csr_array((n_items, n_items), dtype=np.float64)
    for some in sequences:
        row, items = some.row_of_event(), some.items.astype(np.int64) - 1
        for apart in range(1, settings.window + 1):
            same = (row[apart:] == row[:-apart]) & (items[apart:] != items[:-apart])
            one, other = items[:-apart][same], items[apart:][same]
            pairs = sparse.coo_array((np.full(len(one), 1 / apart), (one, other)), shape=counts.shape)
            counts = counts + pairs.tocsr()
    if not counts.nnz:
        raise TokenizerError(
            f"no two items lie within {settings.window} events of a training sequence",
            where="tokenizer.vectors: co_occurrence",
            do="name items by their texts, or train on more events of a user",
        )
    counts = (counts + counts.T).tocoo()
    sums = np.asarray(counts.sum(axis=1)).ravel()
    gains = np.log(counts.data * counts.data.sum() / (sums[counts.row] * sums[counts.col]))
    matrix = sparse.csr_array((np.maximum(gains, 0), (counts.row, counts.col)), shape=counts.shape)
    width = min(settings.width, n_items - 1)
    start = raw_bits(n_items, "co-occurrence").astype(np.float64) / 2**64 - 0.5
    left, values, _ = svds(matrix, k=width, v0=start)
    vectors = torch.from_numpy((left * np.sqrt(values)).astype(np.float32))
    return torch.nn.functional.normalize(vectors.where(vectors.norm(dim=1, keepdim=True) > _NOTHING, 0), dim=1)
