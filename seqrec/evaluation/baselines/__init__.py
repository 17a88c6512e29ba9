"""What a model must beat: recommenders that need no training by gradient."""

from seqrec.evaluation.baselines.item_knn import ItemKNN, ItemKNNScorer
from seqrec.evaluation.baselines.popular import Popular, PopularScorer

__all__ = ["ItemKNN", "ItemKNNScorer", "Popular", "PopularScorer"]
