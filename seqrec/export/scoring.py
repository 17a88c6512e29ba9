"""Scores of single histories, by which a bundle and the model it came from are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from seqrec.export.histories import Encoded
from seqrec.models import SequenceModel

TOLERANCE = 1e-5


@contextmanager
def evaluating(model: SequenceModel) -> Iterator[None]:
    """Evaluation mode and no gradients inside; the model's own mode again after."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def history_scores(model: SequenceModel, histories: Sequence[Encoded], *, max_length: int) -> Tensor:
    """Scores of every item after each history, one history at a time, so that no batch changes last bits.

    Args:
        model: on any device.
        histories: S non-empty ones; their latest events that fit are used.
        max_length: positions that an input takes.
    Returns:
        float32 (S, N) on the CPU.
    """
    device, most = model.item_vectors().device, model.max_history(max_length)
    rows = []
    with evaluating(model):
        for history in histories:
            items, events = history.items[-most:], history.events.each(lambda column: column[-most:])
            row = (items.unsqueeze(0).to(device), torch.tensor([len(items)], device=device))
            user = model.user_vectors(*row, events.each(lambda column: column.unsqueeze(0).to(device)))
            rows.append((user @ model.item_vectors().T).squeeze(0).float().cpu())
    return torch.stack(rows)


def differences(found: Tensor, expected: Tensor) -> Tensor:
    """How far scores lie apart, as a share of the largest expected one where that is above 1.

    Round-off grows with the numbers that are summed, so that 1e-5 can be asked of scores of 20 only in proportion.

    Args:
        found, expected: float (..., n), scores of n items after the same history.
    Returns:
        float (..., n), infinite where a score is NaN.
    """
    scale = expected.abs().amax(dim=-1, keepdim=True).clamp(min=1.0)
    return ((found - expected).abs() / scale).nan_to_num(nan=torch.inf, posinf=torch.inf)
