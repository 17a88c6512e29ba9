"""Checkpoint to serving bundle: written, verified in a fresh process, and opened again."""

from seqrec.export.bundle import Bundle, load_bundle
from seqrec.export.forms import FORMS, Form, FormReport, parse_forms
from seqrec.export.histories import Encoded, Encoder, History
from seqrec.export.manifest import BaseModelReference, BundleFile, BundleManifest, read_manifest
from seqrec.export.samples import ItemScore, Sample, Samples
from seqrec.export.scoring import evaluating
from seqrec.export.writer import export_bundle

__all__ = [
    "FORMS",
    "BaseModelReference",
    "Bundle",
    "BundleFile",
    "BundleManifest",
    "Encoded",
    "Encoder",
    "Form",
    "FormReport",
    "History",
    "ItemScore",
    "Sample",
    "Samples",
    "evaluating",
    "export_bundle",
    "load_bundle",
    "parse_forms",
    "read_manifest",
]
