"""The sequence store on disk: manifest, catalogue, shards; and the split protocols over it."""

from seqrec.store.cache import CacheSettings
from seqrec.store.catalogue import Catalogue
from seqrec.store.location import is_local, locate
from seqrec.store.manifest import FORMAT_VERSION, UNIT_ROWS, Counts, Manifest, Shard, SourceFile
from seqrec.store.sequences import Sequences
from seqrec.store.store import SequenceStore, Unit

__all__ = [
    "FORMAT_VERSION",
    "UNIT_ROWS",
    "CacheSettings",
    "Catalogue",
    "Counts",
    "Manifest",
    "SequenceStore",
    "Sequences",
    "Shard",
    "SourceFile",
    "Unit",
    "is_local",
    "locate",
]
