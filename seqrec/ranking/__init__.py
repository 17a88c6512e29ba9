"""Ranking the whole catalogue for a batch of users: shared by evaluation and serving."""

from seqrec.ranking.scorers import DotScorer, ItemLists, Scorer
from seqrec.ranking.whole_catalogue import Part, Ranked, join, rank, rank_part

__all__ = ["DotScorer", "ItemLists", "Part", "Ranked", "Scorer", "join", "rank", "rank_part"]
