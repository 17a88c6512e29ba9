"""What is known of items beside their ids: texts, precomputed vectors and attributes."""

from seqrec.features.attributes import read_attributes
from seqrec.features.embed import embed_items
from seqrec.features.read import read_features
from seqrec.features.text import TextEncoder, item_texts
from seqrec.features.tokens import read_history_text
from seqrec.features.vector_files import read_vectors, write_vectors

__all__ = [
    "TextEncoder",
    "embed_items",
    "item_texts",
    "read_attributes",
    "read_features",
    "read_history_text",
    "read_vectors",
    "write_vectors",
]
