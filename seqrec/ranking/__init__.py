"""Ranking the whole catalogue for a batch of users, and re-ranking lists: shared by evaluation and serving."""

from seqrec.ranking.diversify import Diversifier, Diversity
from seqrec.ranking.scorers import DotScorer, ItemLists, KnownScores, Scorer, products
from seqrec.ranking.similarity import Labels, Similarity, VectorSimilarity, label_sets
from seqrec.ranking.whole_catalogue import Part, Ranked, join, rank, rank_part

__all__ = [
    "Diversifier",
    "Diversity",
    "DotScorer",
    "ItemLists",
    "KnownScores",
    "Labels",
    "Part",
    "Ranked",
    "Scorer",
    "Similarity",
    "VectorSimilarity",
    "join",
    "label_sets",
    "products",
    "rank",
    "rank_part",
]
