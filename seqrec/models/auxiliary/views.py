"""Copies of sequences with events cropped, masked or reordered, drawn from a key of each row."""

from __future__ import annotations

import torch
from torch import Tensor

from seqrec.models.auxiliary.settings import AugmentedViewsSettings
from seqrec.models.dropout import keyed_draws
from seqrec.models.heads import without_masked
from seqrec.models.items import MASK, PAD
from seqrec.models.micro_batch import MicroBatch


def augmented(batch: MicroBatch, keys: Tensor, settings: AugmentedViewsSettings) -> MicroBatch:
    """A copy of each sequence that is either cropped, or masked, or reordered.

    What is known of a moved event moves with it, except its time: times stay in order.

    Args:
        batch: inputs are items, PAD beyond their lengths. Its targets stay, and mean nothing to the copy.
        keys: int64 (B,), of which all that is drawn is a function.
        settings: shares of events.

    Source: CL4SRec, Xie et al. 2022, arXiv:2010.14395.
    """
    inputs, events = batch.inputs, batch.events
    n_positions = inputs.shape[1]
    draws = _uniform(keys, n_positions + 2)
    kind, place, own = (draws[:, :1] * 3).long(), draws[:, 1:2], draws[:, 2:]
    cropped, masked, reordered = (kind == number for number in range(3))
    position, n = torch.arange(n_positions, device=inputs.device), batch.lengths.unsqueeze(1)

    kept = (n * settings.crop).long().clamp(min=1)
    cut = (position + (place * (n - kept + 1)).long()).clamp(max=n_positions - 1)
    taken = torch.where(cropped, cut, position)
    lengths = torch.where(cropped, kept, n).squeeze(1)

    moved = (n * settings.reorder).long()
    start = (place * (n - moved + 1)).long()
    inside = reordered & (position >= start) & (position < start + moved)
    order = torch.where(inside, start + own * moved, position.to(own.dtype)).argsort(dim=1, stable=True)
    source = torch.where(reordered, order, taken)

    rank = own.masked_fill(position >= n, 2.0).argsort(dim=1, stable=True).argsort(dim=1)
    hidden = masked & (rank < (n * settings.mask).long())

    found = events.each(lambda column: column.gather(1, source))
    if events.timestamps is not None:
        found = found._replace(timestamps=events.timestamps.gather(1, taken))
    beyond = position >= lengths.unsqueeze(1)
    items = inputs.gather(1, source).masked_fill(hidden, MASK).masked_fill(beyond, PAD)
    found = without_masked(found, hidden).each(lambda column: column.masked_fill(beyond, 0))
    return batch._replace(inputs=items, lengths=lengths, events=found)


def with_masked_events(batch: MicroBatch, keys: Tensor, share: float) -> MicroBatch:
    """A copy of each sequence with some events masked, which are its targets.

    At least one is masked; the first, which has nothing before it, never.

    Args:
        batch, keys: as for `augmented`.
        share: of events that are masked.
    """
    inputs = batch.inputs
    draws = _uniform(keys, inputs.shape[1])
    position = torch.arange(inputs.shape[1], device=inputs.device)
    maskable = (position > 0) & (position < batch.lengths.unsqueeze(1))
    lowest = draws.masked_fill(~maskable, 2.0).argmin(1, keepdim=True)
    masked = maskable & ((draws < share) | (position == lowest))
    return batch._replace(
        inputs=inputs.masked_fill(masked, MASK),
        targets=torch.where(masked, inputs, PAD),
        events=without_masked(batch.events, masked),
    )


def _uniform(keys: Tensor, n: int) -> Tensor:
    """float32 (B, n) in [0, 1), multiples of 2**-16."""
    return (keyed_draws(keys, torch.Size((len(keys), n))).float() + 2**15) / 2**16
