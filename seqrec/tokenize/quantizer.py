"""Residual quantisation: a vector as a sum of one code vector a level."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqrec.random import KeyPart
from seqrec.tokenize.kmeans import kmeans, nearest


class Quantizer(NamedTuple):
    """How vectors become codes.

    Letters in shapes: m levels, C codes, D width of the vectors, H width of what is quantised.

    Attributes:
        codebooks: float (m, C, H).
        encoder: float (n, D) to (n, H); the identity for residual k-means.
        decoder: back.
    """

    codebooks: Tensor
    encoder: nn.Module
    decoder: nn.Module

    @torch.no_grad()
    def latents(self, vectors: Tensor) -> Tensor:
        """What is quantised, float (n, H), of vectors float (n, D)."""
        found: Tensor = self.encoder(vectors)
        return found

    @torch.no_grad()
    def error(self, vectors: Tensor, codes: Tensor) -> float:
        """Squared distance of vectors, float (n, D), from what their codes, int64 (n, m), stand for, as a share of 1.

        1 is that of the mean vector.
        """
        found: Tensor = self.decoder(summed(self.codebooks, codes))
        total = (vectors - vectors.mean(0)).square().sum()
        return float((vectors - found).square().sum() / total.clamp(min=torch.finfo(total.dtype).tiny))


def summed(codebooks: Tensor, codes: Tensor) -> Tensor:
    """float (n, H): the sums of code vectors that codes, int64 (n, m), stand for."""
    return torch.stack([book[codes[:, level]] for level, book in enumerate(codebooks)]).sum(0)


def residual_codes(latents: Tensor, codebooks: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest code of each level to what the levels before have left.

    Args:
        latents: float (n, H).
        codebooks: float (m, C, H).
    Returns:
        Codes int64 (n, m), and what each level found, float (m, n, H).
    """
    codes, residuals, left = [], [], latents
    for book in codebooks:
        residuals.append(left)
        codes.append(nearest(left, book)[1])
        left = left - book[codes[-1]]
    return torch.stack(codes, dim=1), torch.stack(residuals)


def residual_kmeans(latents: Tensor, *, levels: int, codes: int, key: tuple[KeyPart, ...]) -> Tensor:
    """Codebooks float (m, C, H): the centres of k-means, level by level on what is left."""
    books, left = [], latents
    for level in range(levels):
        books.append(kmeans(left, codes, *key, level))
        left = left - books[-1][nearest(left, books[-1])[1]]
    return torch.stack(books)
