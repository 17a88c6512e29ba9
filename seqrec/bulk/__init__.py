"""Recommendations for every user of a store, as Parquet."""

from seqrec.bulk.folder import SUCCESS, BulkFolder, BulkRequest
from seqrec.bulk.recommend import recommend_all

__all__ = ["SUCCESS", "BulkFolder", "BulkRequest", "recommend_all"]
