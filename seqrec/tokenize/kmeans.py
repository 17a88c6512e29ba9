"""k-means, the same for the same key."""

from __future__ import annotations

import torch
from torch import Tensor

from seqrec.random import KeyPart, draw_weighted, perm

_ROUNDS = 50
_CHUNK = 65_536  # rows whose distances are held at once
_SCALE = 2**40  # weights of a draw are integers


def kmeans(vectors: Tensor, n: int, *key: KeyPart) -> Tensor:
    """Centres of clusters: Lloyd's algorithm from the start of k-means++.

    A cluster that loses all its vectors takes up the one that lies farthest from its centre.

    Args:
        vectors: float (N, D).
        n: centres, 1..N.
        key: of what is random, as for `seqrec.random.raw_bits`.
    Returns:
        float (n, D).
    Source: k-means++, Arthur and Vassilvitskii 2007.
    """
    centres = _spread(vectors, n, *key)
    labels = None
    for _ in range(_ROUNDS):
        distances, found = nearest(vectors, centres)
        if labels is not None and torch.equal(found, labels):
            break
        labels = found
        counts = torch.bincount(labels, minlength=n)
        centres = torch.zeros_like(centres).index_add_(0, labels, vectors) / counts.clamp(min=1).unsqueeze(1)
        (empty,) = torch.where(counts == 0)
        centres[empty] = vectors[distances.topk(len(empty)).indices]
    return centres


def nearest(vectors: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance to the nearest centre float (N,), and which it is int64 (N,)."""
    found = [squared_distances(part, centres).min(1) for part in torch.split(vectors, _CHUNK)]
    return torch.cat([one.values for one in found]), torch.cat([one.indices for one in found])


def squared_distances(vectors: Tensor, centres: Tensor) -> Tensor:
    """float (N, n), none below 0."""
    crossed = vectors @ centres.T
    return (vectors.square().sum(1, keepdim=True) - 2 * crossed + centres.square().sum(1)).clamp(min=0)


def _spread(vectors: Tensor, n: int, *key: KeyPart) -> Tensor:
    """float (n, D): each next vector drawn in proportion to its squared distance from those before."""
    chosen = [int(perm(len(vectors), "k-means", *key)[0])]
    left = squared_distances(vectors, vectors[chosen])[:, 0]
    for number in range(1, n):
        total = float(left.sum())
        if total <= 0:  # no vector differs from those chosen
            chosen += [chosen[0]] * (n - number)
            break
        weights = (left.double() / total * _SCALE).long()
        chosen.append(int(draw_weighted(1, weights.cumsum(0).cpu().numpy(), "k-means", number, *key)[0]))
        left = torch.minimum(left, squared_distances(vectors, vectors[chosen[-1:]])[:, 0])
    return vectors[chosen].clone()
