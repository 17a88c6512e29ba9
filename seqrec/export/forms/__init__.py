"""Forms of a model for other programs: ONNX, ONNX in 8 bits, an index of item vectors, `transformers.generate`."""

from seqrec.export.forms.questions import Questions, ask
from seqrec.export.forms.report import FORMS, Form, FormReport, parse_forms
from seqrec.export.forms.write import check_forms, write_forms

__all__ = ["FORMS", "Form", "FormReport", "Questions", "ask", "check_forms", "parse_forms", "write_forms"]
