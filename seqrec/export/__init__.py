"""Checkpoint to serving bundle: written, verified in a fresh process, and opened again."""

from seqrec.export.bundle import Bundle, load_bundle
from seqrec.export.manifest import BaseModelReference, BundleFile, BundleManifest
from seqrec.export.samples import ItemScore, Sample, Samples
from seqrec.export.scoring import evaluating
from seqrec.export.weights import catalogue_of
from seqrec.export.writer import export_bundle

__all__ = [
    "BaseModelReference",
    "Bundle",
    "BundleFile",
    "BundleManifest",
    "ItemScore",
    "Sample",
    "Samples",
    "catalogue_of",
    "evaluating",
    "export_bundle",
    "load_bundle",
]
