from __future__ import annotations

import numpy as np
import torch

from seqrec.evaluation.baselines import Popular, popular_recent
from seqrec.ranking.scorers import ItemLists
from seqrec.ranking.whole_catalogue import rank
from seqrec.store import Sequences


def test_recommends_by_training_events_over_all_parts():
    parts = [
        Sequences(np.array([0, 1]), np.array([0, 3, 4]), np.array([2, 2, 5], np.int32).repeat([1, 1, 2])),
        Sequences(np.array([2]), np.array([0, 2]), np.array([2, 3], np.int32)),
    ]
    popular = Popular.fit(parts, 6)
    assert popular.counts.tolist() == [0, 3, 1, 0, 2, 0]
    scorer = popular.scorer(ItemLists(torch.tensor([0, 1, 1]), torch.tensor([2])), np.arange(2))
    ranked = rank(scorer, k=6, targets=torch.tensor([5, 6]), seen=ItemLists(torch.tensor([0, 1, 1]), torch.tensor([2])))
    assert ranked.top_items.tolist() == [[5, 3, 1, 4, 6, 0], [2, 5, 3, 1, 4, 6]]
    assert ranked.target_rank.tolist() == [0, 5]  # three items of no events tie, two others of them before item 6


def test_an_empty_part_and_no_part_count_nothing():
    empty = Sequences(np.array([], np.int64), np.array([0]), np.array([], np.int32))
    assert Popular.fit([empty], 2).counts.tolist() == [0, 0]
    assert Popular.fit([], 2).counts.tolist() == [0, 0]


def sequences(lists: list[list[int]], times: list[list[int]] | None = None) -> Sequences:
    flat = None if times is None else np.array([t for some in times for t in some], np.int64)
    items = np.array([item for some in lists for item in some], np.int32)
    return Sequences(np.arange(len(lists)), np.cumsum([0, *map(len, lists)]), items, flat)


def test_recent_counts_the_latest_part_of_the_training_period():
    # the period is 0..100; its latest tenth has items 3, 3 and 2; the others are ordered by all their events
    parts = [sequences([[1, 1, 2], [3]], [[0, 5, 80], [95]]), sequences([[2, 1, 3, 2]], [[10, 40, 90, 100]])]
    counts = popular_recent(lambda: parts, 4, share=0.1).counts
    assert np.argsort(-counts).tolist() == [2, 1, 0, 3]
    assert counts[3] < counts[0]


def test_recent_without_times_counts_the_last_events_of_each_user():
    parts = [sequences([[1, 1, 1, 2], [1, 3]]), sequences([[], [3]])]
    counts = popular_recent(lambda: parts, 3, share=0.25).counts
    assert np.argsort(-counts).tolist() == [2, 1, 0]  # the last one each: 2, 3, 3


def test_items_that_tie_lately_and_always_tie():
    counts = popular_recent(lambda: [sequences([[1, 2]])], 4, share=1.0).counts
    assert counts[0] == counts[1] > counts[2] == counts[3]


def test_large_counts_that_differ_by_one_do_not_tie():
    scorer = Popular(np.array([2**24 + 1, 2**24])).scorer(
        ItemLists(torch.tensor([0, 0]), torch.tensor([])), np.arange(1)
    )
    assert rank(scorer, k=1, targets=torch.tensor([1])).target_rank.tolist() == [0]
