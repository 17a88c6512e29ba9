"""A contrastive loss over the sequences of a step."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# values of a rank's own rows → those of all ranks' rows, and which of them are its own
Gather = Callable[..., tuple[list[Tensor], slice]]


def alone(*values: Tensor) -> tuple[list[Tensor], slice]:
    """The rows of one process that has the whole step, as a `Gather`."""
    return list(values), slice(0, len(values[0]))


def contrastive_loss(
    views: Tensor, targets: Tensor, counts: Tensor, *, temperature: float, same_target: bool, gather: Gather = alone
) -> Tensor:
    """The summed loss of a rank's sequences, told apart from all others of the step.

    Each rank calls this with its own. It computes the loss of the whole step, to which the vectors of other ranks are
    constants, so that its gradient is that of the whole step's loss by its own vectors; its value is the part of its
    own sequences. So the values of ranks, and their gradients, sum up to those of one process.

    Args:
        views: float (B, 2, D), two vectors of each sequence.
        targets: int64 (B,), the last target of each.
        counts: int64 (B,), how often each one's loss counts; a row with 0 is no sequence, and nobody is told from it.
        temperature: what cosines are divided by.
        same_target: whether all sequences with the same last target are to be alike, and not only the views of one.
        gather: brings together the step's sequences.
    Returns:
        float (), at least float32.
    """
    with torch.autocast(views.device.type, enabled=False):
        own = F.normalize(views if views.dtype == torch.float64 else views.float(), dim=-1)
        (whole_step, targets, counts), here = gather(own.detach(), targets, counts)
        vectors = torch.cat([whole_step[: here.start], own, whole_step[here.stop :]])
        labels = targets if same_target else torch.arange(len(vectors), device=vectors.device)
        losses = info_nce(vectors, labels, counts > 0, temperature) * counts
        total = losses.sum()
        return losses[here].sum().detach() + (total - total.detach())


def info_nce(views: Tensor, labels: Tensor, real: Tensor, temperature: float) -> Tensor:
    """How far the views of each sequence are from telling those of its label from all others.

    A view's loss is the mean of -log(exp s_p / Σ exp s) over the other views p of its label, where s are its cosines
    with all views but itself, over the temperature.

    Args:
        views: float (n, 2, D), of length one.
        labels: int64 (n,).
        real: bool (n,), which rows are sequences.
        temperature: above 0.
    Returns:
        float (n,), the mean over a sequence's two views, 0 where there is none.

    Source: NT-Xent of SimCLR, Chen et al. 2020, arXiv:2002.05709; with more than two views of a label, the first form
    of Khosla et al. 2020, arXiv:2004.11362.
    """
    vectors, labels, real = views.flatten(0, 1), labels.repeat_interleave(2), real.repeat_interleave(2)
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    left_out = itself | ~real
    scores = vectors @ vectors.T / temperature
    log_shares = scores.masked_fill(left_out, torch.finfo(scores.dtype).min).log_softmax(1)
    alike = (labels.unsqueeze(1) == labels) & ~left_out & real.unsqueeze(1)
    losses = -log_shares.masked_fill(~alike, 0.0).sum(1) / alike.sum(1).clamp(min=1)
    return losses.view(-1, 2).mean(1)
