"""Semantic ids: item vectors to short tuples of codes, one for each item."""

from seqrec.tokenize.co_occurrence import co_occurrence_vectors
from seqrec.tokenize.report import TokenizerReport, report_table
from seqrec.tokenize.settings import (
    CoOccurrenceVectorSettings,
    RqKMeansSettings,
    RqVaeSettings,
    RunVectorSettings,
    TextVectorSettings,
    TokenizerSettings,
    VectorSettings,
)
from seqrec.tokenize.tokenizer import REPORT_FILE, Tokenizer, check_codes, check_place
from seqrec.tokenize.vectors import digest

__all__ = [
    "REPORT_FILE",
    "CoOccurrenceVectorSettings",
    "RqKMeansSettings",
    "RqVaeSettings",
    "RunVectorSettings",
    "TextVectorSettings",
    "Tokenizer",
    "TokenizerReport",
    "TokenizerSettings",
    "VectorSettings",
    "check_codes",
    "check_place",
    "co_occurrence_vectors",
    "digest",
    "report_table",
]
