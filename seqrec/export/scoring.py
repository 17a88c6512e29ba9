"""Scores of single histories, by which a bundle and the model it came from are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from seqrec.export.histories import Encoded
from seqrec.models import PAD, ListRequest, RankingModel

TOLERANCE = 1e-5


@contextmanager
def evaluating(model: RankingModel) -> Iterator[None]:
    """Evaluation mode and no gradients inside; the model's own mode again after."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def history_scores(model: RankingModel, histories: Sequence[Encoded], *, max_length: int) -> Tensor:
    """Scores of items after each history, one history at a time, so that no batch changes last bits.

    A list as long as the model makes it is asked for. Items that it leaves out stand at the score of its last one,
    which says of them what is known: no more than that.

    Args:
        model: on any device.
        histories: S non-empty ones; their latest events that fit are used.
        max_length: positions that an input takes.
    Returns:
        float32 (S, N) on the CPU.
    """
    device, most, k = model.device, model.max_history(max_length), model.list_limit or model.n_items
    rows = []
    with evaluating(model):
        for history in histories:
            items, events = history.items[-most:], history.events.each(lambda column: column[-most:])
            columns = events.every(lambda column: column.unsqueeze(0).to(device))
            length = torch.tensor([len(items)], device=device)
            ranked = model.rank(ListRequest(items.unsqueeze(0).to(device), length, events=columns, k=k))
            listed = ranked.top_items[0] > PAD
            found, scores = ranked.top_items[0, listed], ranked.top_scores[0, listed]
            rows.append(scores.min().repeat(model.n_items).scatter(0, found - 1, scores).cpu())
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
