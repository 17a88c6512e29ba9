"""The user-item matrix that collaborative filtering starts from."""

from __future__ import annotations

import numpy as np
from scipy import sparse


def binary(rows: np.ndarray, items: np.ndarray, n_users: int, n_items: int) -> sparse.csr_array:
    """1 where a user has an event of an item, however many.

    Args:
        rows: int (events,), 0..n_users-1.
        items: int (events,), 1..n_items.
        n_users: rows of the matrix.
        n_items: its columns; row r is item r + 1.
    Returns:
        float32 (n_users, n_items).
    """
    matrix = sparse.csr_array((np.ones(len(rows), np.float32), (rows, items - 1)), shape=(n_users, n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix
