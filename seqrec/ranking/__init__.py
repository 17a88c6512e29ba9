"""Ranking the whole catalogue for a batch of users: shared by evaluation and serving."""

from seqrec.ranking.scorers import DotScorer, ItemLists, Scorer
from seqrec.ranking.whole_catalogue import Ranked, rank

__all__ = ["DotScorer", "ItemLists", "Ranked", "Scorer", "rank"]
