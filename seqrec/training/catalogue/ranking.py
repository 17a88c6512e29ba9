"""Ranks the whole catalogue for a batch of users when its item table lies in shards."""

from __future__ import annotations

import torch
from torch import Tensor

from seqrec.evaluation import seen_lists
from seqrec.models import SequenceModel
from seqrec.ranking import DotScorer, ItemLists, Part, Ranked, join, rank_part
from seqrec.stream import EvaluationBatch
from seqrec.training.catalogue.table import ShardedItemTable
from seqrec.training.collectives import gather_over_ranks, gather_ragged


@torch.no_grad()
def rank_over_shards(model: SequenceModel, batch: EvaluationBatch, *, k: int) -> Ranked:
    """As `seqrec.evaluation.rank_users`, for a model whose item table is a `ShardedItemTable`; all ranks meet.

    Each rank scores its own items for the users of all ranks, and sends back its best and the targets' scores, which
    join to the ranking over all items.

    Args:
        model: in evaluation mode.
        batch: histories with targets; of no user, where a rank has fewer batches than another.
        k: length of the lists.
    Raises:
        MetricError: a score is NaN.
    """
    table = model.items
    assert isinstance(table, ShardedItemTable)
    assert batch.targets is not None
    shard, n_users, item_vectors = table.shard, len(batch.rows), model.item_vectors()
    counts = gather_over_ranks(torch.tensor([n_users], device=batch.rows.device))
    vectors = gather_ragged(_user_vectors(model, batch), counts)
    targets, seen = gather_ragged(batch.targets, counts), _gather_lists(batch, counts)
    parts, start = [], 0
    for (
        count
    ) in counts.tolist():  # by batch, as one process would rank them: last bits depend on the shape of a product
        some = slice(start, start + count)
        scorer = DotScorer(vectors[some], item_vectors)
        lists = None if seen is None else seen.of_users(some.start, some.stop)
        parts.append(rank_part(scorer, k=k, targets=targets[some], seen=lists, first=shard.first))
        start += count
    sent, received = counts.tolist(), [n_users] * shard.world_size
    keys = shard.exchange(torch.cat([part.keys for part in parts]), sent, received)
    own = shard.exchange(torch.cat([p.target_scores for p in parts if p.target_scores is not None]), sent, received)
    by_rank = zip(torch.split(keys, received), torch.split(own, received), strict=True)
    return join([Part(*found) for found in by_rank], k=k)


def _user_vectors(model: SequenceModel, batch: EvaluationBatch) -> Tensor:
    """float (B, D), in one pass, as each is an exchange of the table's rows."""
    asked = batch if len(batch.rows) else model.filler(batch.rows.device)
    return model.user_vectors(asked.items, asked.lengths, asked.events)[: len(batch.rows)]


def _gather_lists(batch: EvaluationBatch, counts: Tensor) -> ItemLists | None:
    lists = seen_lists(batch)
    if not int(gather_over_ranks(torch.tensor([int(lists is not None)], device=counts.device)).sum()):
        return None
    if lists is None:  # a batch without users
        nothing = counts.new_zeros(0)
        lists = ItemLists(counts.new_zeros(1), nothing)
    lengths = gather_ragged(lists.offsets.diff(), counts)
    n_items = gather_over_ranks(torch.tensor([len(lists.items)], device=counts.device))
    return ItemLists(torch.nn.functional.pad(lengths.cumsum(0), (1, 0)), gather_ragged(lists.items, n_items))
