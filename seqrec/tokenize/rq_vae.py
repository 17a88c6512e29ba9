"""RQ-VAE: an autoencoder with residual quantisation in between."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from seqrec.random import perm, raw_bits
from seqrec.tokenize.quantizer import Quantizer, residual_codes, residual_kmeans, summed
from seqrec.tokenize.settings import RqVaeSettings

_BATCH = 1024
_HIDDEN = (512, 256)


def train_rq_vae(vectors: Tensor, settings: RqVaeSettings, *, seed: int) -> Quantizer:
    """Trains encoder, codebooks and decoder on vectors float (n, D).

    The loss is the reconstruction's squared error, that of the codes from the latents, and ``commitment`` times that
    of the latents from the codes; gradients pass the quantisation unchanged. Codebooks start as residual k-means of the
    first latents, and a code that nothing takes in an epoch is put onto a latent drawn at random.

    Source: Lee et al. 2022, arXiv:2203.01941, as used for items by TIGER, Rajput et al. 2023, arXiv:2305.05065.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(raw_bits(1, "rq-vae", seed)[0] >> 1))
        encoder = layers([vectors.shape[1], *_HIDDEN, settings.width])
        decoder = layers([settings.width, *reversed(_HIDDEN), vectors.shape[1]])
    with torch.no_grad():
        start = residual_kmeans(
            encoder(vectors), levels=settings.levels, codes=settings.codes, key=("rq-vae codes", seed)
        )
    books = nn.Parameter(start)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters(), books], lr=settings.lr)
    for epoch in range(settings.epochs):
        taken = torch.zeros(settings.levels, settings.codes, dtype=torch.long)
        order = torch.from_numpy(perm(len(vectors), "rq-vae order", seed, epoch))
        for batch in torch.split(order, _BATCH):
            codes = _step(vectors[batch], encoder, decoder, books, settings.commitment, optimizer)
            for level in range(settings.levels):
                taken[level] += torch.bincount(codes[:, level], minlength=settings.codes)
        if epoch + 1 < settings.epochs:
            _revive(books, taken, encoder(vectors[order[:_BATCH]]).detach())
    return Quantizer(books.detach(), encoder.requires_grad_(False), decoder.requires_grad_(False))


def _step(
    vectors: Tensor,
    encoder: nn.Module,
    decoder: nn.Module,
    books: nn.Parameter,
    commitment: float,
    optimizer: torch.optim.Optimizer,
) -> Tensor:
    """One step on a batch; returns its codes."""
    latents = encoder(vectors)
    codes, residuals = residual_codes(latents.detach(), books.detach())
    loss = torch.zeros(())
    left = latents
    for level, book in enumerate(books):
        code = book[codes[:, level]]
        loss = loss + (residuals[level] - code).square().sum(1).mean()
        loss = loss + commitment * (left - code.detach()).square().sum(1).mean()
        left = left - code.detach()
    quantised = latents + (summed(books.detach(), codes) - latents).detach()
    loss = loss + (decoder(quantised) - vectors).square().sum(1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return codes


@torch.no_grad()
def _revive(books: nn.Parameter, taken: Tensor, latents: Tensor) -> None:
    _, residuals = residual_codes(latents, books)
    for level, counts in enumerate(taken):
        (unused,) = torch.where(counts == 0)
        unused = unused[: len(latents)]
        books[level, unused] = residuals[level, : len(unused)]


def layers(widths: list[int]) -> nn.Sequential:
    """Linear maps from width to width, with ReLU in between."""
    parts: list[nn.Module] = []
    for narrow, wide in pairwise(widths):
        parts += [nn.Linear(narrow, wide), nn.ReLU()]
    return nn.Sequential(*parts[:-1])
