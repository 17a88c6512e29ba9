"""Slates: a decoder over the user's vector, and the search for the list that it finds best."""

from seqrec.models.slate.decoders import SlateDecoder
from seqrec.models.slate.model import SlateModel
from seqrec.models.slate.search import SlateSearch

__all__ = ["SlateDecoder", "SlateModel", "SlateSearch"]
