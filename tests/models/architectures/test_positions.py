from __future__ import annotations

import torch

from seqrec.models.architectures.positions import rotated


def test_products_of_turned_vectors_depend_on_the_distance_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned_q, turned_k = rotated(q.expand(1, 1, 9, 6))[0, 0], rotated(k.expand(1, 1, 9, 6))[0, 0]
    products = turned_q @ turned_k.T
    for distance in (0, 1, 5):
        along = products.diagonal(-distance)
        torch.testing.assert_close(along, along[:1].expand_as(along))
    assert not torch.allclose(products[1, 0], products[0, 1])
    torch.testing.assert_close(products[0, 0], (q @ k.transpose(2, 3)).squeeze())
