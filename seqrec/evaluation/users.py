"""From an evaluation batch to ranks and lists."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from seqrec.models import SequenceModel
from seqrec.ranking import DotScorer, ItemLists, Ranked, rank
from seqrec.stream import EvaluationBatch

CPU_TOKENS = 4096  # of a forward pass on the CPU: its activations then stay within the cache


def rank_users(model: SequenceModel, batch: EvaluationBatch, *, k: int, in_parts: bool = True) -> Ranked:
    """Ranks every item for the users of a batch, or recommends where it has no targets.

    Args:
        model: in evaluation mode.
        batch: histories, and targets if any, on the model's device.
        k: length of the lists.
        in_parts: whether a batch may take several forward passes, which ranks that meet in them must not.
    """
    if batch.fixed_shape or not in_parts:
        vectors = model.user_vectors(batch.items, batch.lengths, batch.events)[: len(batch.rows)]
    else:
        vectors = _in_parts(model, batch)
    scorer = DotScorer(vectors, model.item_vectors())
    return rank(scorer, k=k, targets=batch.targets, seen=seen_lists(batch))


def seen_lists(batch: EvaluationBatch) -> ItemLists | None:
    """What the users of a batch have seen; None where they may be recommended it again."""
    if batch.seen_offsets is None or batch.seen_items is None:
        return None
    return ItemLists(batch.seen_offsets, batch.seen_items)


def _rows_of_a_pass(batch: EvaluationBatch) -> int:
    if batch.lengths.device.type != "cpu" or batch.items.numel() <= CPU_TOKENS:
        return len(batch.lengths)
    return max(1, CPU_TOKENS // batch.items.shape[1])


def _in_parts(model: SequenceModel, batch: EvaluationBatch) -> Tensor:
    """float (B, D); rows come shortest first, so that parts of a batch also need less padding than the whole."""
    step = _rows_of_a_pass(batch)
    vectors = []
    for first in range(0, len(batch.items), step):
        lengths = batch.lengths[first : first + step]
        part = partial(_part, rows=slice(first, first + step), length=int(lengths.max()))
        vectors.append(model.user_vectors(part(batch.items), lengths, batch.events.each(part)))
    return torch.cat(vectors)


def _part(column: Tensor, *, rows: slice, length: int) -> Tensor:
    return column[rows, :length]
