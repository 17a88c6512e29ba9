"""From an evaluation batch to ranks and lists."""

from __future__ import annotations

from seqrec.models import SequenceModel
from seqrec.ranking import DotScorer, ItemLists, Ranked, rank
from seqrec.stream import EvaluationBatch


def rank_users(model: SequenceModel, batch: EvaluationBatch, *, k: int) -> Ranked:
    """Ranks every item for the users of a batch.

    Args:
        model: in evaluation mode.
        batch: histories and targets, on the model's device.
        k: length of the lists.
    """
    scorer = DotScorer(model.user_vectors(batch.items, batch.lengths), model.item_vectors())
    seen = None
    if batch.seen_offsets is not None and batch.seen_items is not None:
        seen = ItemLists(batch.seen_offsets, batch.seen_items)
    return rank(scorer, k=k, targets=batch.targets, seen=seen)
