"""Recommendations from a trained model or a bundle."""

from seqrec.serving.recommender import Recommendation, Recommender

__all__ = ["Recommendation", "Recommender"]
