"""The item table in shards, a rank each: lookups, losses and rankings over it, equal to those over the whole table."""

from seqrec.training.catalogue.losses import ShardedFullSoftmax, ShardedSampledLoss, sharded_loss
from seqrec.training.catalogue.ranking import rank_over_shards
from seqrec.training.catalogue.shards import Shard
from seqrec.training.catalogue.table import ShardedItemTable

__all__ = [
    "Shard",
    "ShardedFullSoftmax",
    "ShardedItemTable",
    "ShardedSampledLoss",
    "rank_over_shards",
    "sharded_loss",
]
