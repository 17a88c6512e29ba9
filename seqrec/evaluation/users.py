"""From an evaluation batch to ranks and lists."""

from __future__ import annotations

from seqrec.models import ListRequest, RankingModel
from seqrec.ranking import Diversifier, ItemLists, Ranked
from seqrec.stream import EvaluationBatch


def rank_users(
    model: RankingModel,
    batch: EvaluationBatch,
    *,
    k: int,
    in_parts: bool = True,
    diversifier: Diversifier | None = None,
) -> Ranked:
    """Ranks items for the users of a batch, or recommends where it has no targets.

    Args:
        model: in evaluation mode.
        batch: histories, and targets if any, on the model's device.
        k: length of the lists.
        in_parts: whether a batch may take several forward passes, which ranks that meet in them must not.
        diversifier: re-ranks the lists, or None.
    """
    request = ListRequest(
        batch.items,
        batch.lengths,
        events=batch.events,
        k=k if diversifier is None else diversifier.candidates(k, model.list_limit),
        users=len(batch.rows),
        targets=batch.targets,
        seen=seen_lists(batch),
        in_parts=in_parts and not batch.fixed_shape,
    )
    ranked = model.rank(request)
    return ranked if diversifier is None else diversifier(ranked, k, targets=batch.targets)


def seen_lists(batch: EvaluationBatch) -> ItemLists | None:
    """What the users of a batch have seen; None where they may be recommended it again."""
    if batch.seen_offsets is None or batch.seen_items is None:
        return None
    return ItemLists(batch.seen_offsets, batch.seen_items)
