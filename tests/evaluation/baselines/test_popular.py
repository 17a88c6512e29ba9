from __future__ import annotations

import numpy as np
import torch

from seqrec.evaluation.baselines import Popular
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
    scorer = popular.scorer(ItemLists(torch.tensor([0, 1, 1]), torch.tensor([2])))
    ranked = rank(scorer, k=6, targets=torch.tensor([5, 6]), seen=ItemLists(torch.tensor([0, 1, 1]), torch.tensor([2])))
    assert ranked.top_items.tolist() == [[5, 3, 1, 4, 6, 0], [2, 5, 3, 1, 4, 6]]
    assert ranked.target_rank.tolist() == [0, 5]  # three items of no events tie, two others of them before item 6


def test_an_empty_part_and_no_part_count_nothing():
    empty = Sequences(np.array([], np.int64), np.array([0]), np.array([], np.int32))
    assert Popular.fit([empty], 2).counts.tolist() == [0, 0]
    assert Popular.fit([], 2).counts.tolist() == [0, 0]
