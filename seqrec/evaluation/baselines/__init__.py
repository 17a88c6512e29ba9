"""What a model must beat: recommenders that know no order of events, and need seconds to be made."""

from seqrec.evaluation.baselines.choice import (
    BASELINES,
    DEFAULT_BASELINES,
    Baseline,
    BaselineName,
    check_baselines,
    fit_baselines,
)
from seqrec.evaluation.baselines.item_knn import ItemKNN, ItemKNNScorer
from seqrec.evaluation.baselines.matrix_factorisation import MatrixFactorisation
from seqrec.evaluation.baselines.popular import Popular, PopularScorer, popular_recent

__all__ = [
    "BASELINES",
    "DEFAULT_BASELINES",
    "Baseline",
    "BaselineName",
    "ItemKNN",
    "ItemKNNScorer",
    "MatrixFactorisation",
    "Popular",
    "PopularScorer",
    "check_baselines",
    "fit_baselines",
    "popular_recent",
]
