"""Items named by semantic ids: the codes of a catalogue, their trie, and a model that generates them."""

from seqrec.models.semantic.codes import CODES_FILE, SemanticIds
from seqrec.models.semantic.model import SemanticIdModel
from seqrec.models.semantic.search import Beams, BeamSearch
from seqrec.models.semantic.table import CodeTable, SemanticItemsSettings
from seqrec.models.semantic.trie import CodeTrie

__all__ = [
    "CODES_FILE",
    "BeamSearch",
    "Beams",
    "CodeTable",
    "CodeTrie",
    "SemanticIdModel",
    "SemanticIds",
    "SemanticItemsSettings",
]
