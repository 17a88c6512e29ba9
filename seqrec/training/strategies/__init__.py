"""How training is shared between processes: strategies by name, and what works with each."""

from seqrec.training.strategies.catalogue_parallel import CatalogueParallelStrategy
from seqrec.training.strategies.fsdp2 import Fsdp2Strategy
from seqrec.training.strategies.registry import FAMILIES, UNAVAILABLE, Family, build_strategy, family_of
from seqrec.training.strategies.support import PRECISIONS, REFUSALS, check_combination, named, refusals
from seqrec.training.strategies.traits import forward_gathers, loss_factor
from seqrec.training.strategies.zero import ZeroStrategy

__all__ = [
    "FAMILIES",
    "PRECISIONS",
    "REFUSALS",
    "UNAVAILABLE",
    "CatalogueParallelStrategy",
    "Family",
    "Fsdp2Strategy",
    "ZeroStrategy",
    "build_strategy",
    "check_combination",
    "family_of",
    "forward_gathers",
    "loss_factor",
    "named",
    "refusals",
]
