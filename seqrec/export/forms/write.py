"""Forms written into a bundle, each seen to answer as the model does by a process that has its library only."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from seqrec.errors import BundleError, MissingExtraError
from seqrec.export.forms.answer import milliseconds
from seqrec.export.forms.compare import answers_of, fresh_answers, refuse_unlike, report_of, times_of
from seqrec.export.forms.generator import check_generator, write_generator
from seqrec.export.forms.item_index import write_index
from seqrec.export.forms.onnx_graph import write_int8, write_onnx
from seqrec.export.forms.questions import (
    BATCHES,
    Answers,
    Questions,
    exact_top,
    live_answers,
    user_vectors,
)
from seqrec.export.forms.report import Form, FormReport
from seqrec.export.scoring import evaluating
from seqrec.models import RankingModel, SemanticIdModel, SequenceModel, is_quantized

_FILES: dict[Form, str] = {"onnx": "onnx/model.onnx", "int8": "onnx/model.int8.onnx", "index": "index/items.faiss"}
_PACKAGES: dict[Form, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "int8": ("onnx", "onnxscript", "onnxruntime"),
    "index": ("faiss",),
}


def check_forms(model: RankingModel, forms: Sequence[Form], *, merge: bool) -> None:
    """Sees that the forms can be made, before anything is.

    Args:
        model: to be held.
        forms: which.
        merge: whether its adapter is merged.
    Raises:
        BundleError: the model is none that they hold.
        MissingExtraError: a package is not installed.
    """
    if not forms:
        return
    where = f"--forms {','.join(forms)}"
    if "generate" in forms:
        check_generator(model, merge=merge, where=where)
    if set(forms) == {"generate"}:
        return
    if not isinstance(model, SequenceModel) or model.list_limit is not None:
        raise BundleError(
            "the model does not rank by products of a user's vector with item vectors",
            where=where,
            do="serve the bundle itself: export without forms, or with `generate` where it makes semantic ids",
        )
    if model.columns or model.user_values is not None:
        read = ", ".join([*model.columns, *(["users"] if model.user_values is not None else [])])
        raise BundleError(f"the model reads {read}, and forms take items only", where=where, do="export without forms")
    if model.writer is not None and set(forms) - {"index"}:
        raise BundleError("a graph does not read histories as text", where=where, do="ask for the index alone")
    if is_quantized(model.backbone.model) and set(forms) - {"index"}:
        raise BundleError("a graph does not hold a quantized base model", where=where, do="ask for the index alone")
    for form in forms:
        for package in _PACKAGES[form]:
            if find_spec(package) is None:
                raise MissingExtraError.of(package, extra="serving", needed_for=f"the form `{form}`")


def write_forms(
    folder: Path,
    model: RankingModel,
    forms: Sequence[Form],
    item_ids: Sequence[str],
    questions: Questions,
    *,
    most: int,
) -> dict[Form, FormReport]:
    """Writes forms of a model into a bundle.

    Args:
        folder: of the bundle.
        model: on the CPU, with a table of item vectors or of codes.
        forms: which, as `check_forms` allows.
        item_ids: N ids.
        questions: by which they are compared with the model.
        most: longest history.
    Raises:
        BundleError: scores of a form that is to be exact differ from the model's by more than 1e-5.
    """
    if isinstance(model, SemanticIdModel):
        return {"generate": write_generator(folder, model, item_ids, questions, max_length=most)}
    assert isinstance(model, SequenceModel)
    found: dict[Form, FormReport] = {}
    with evaluating(model), tempfile.TemporaryDirectory() as name:
        live, scratch = live_answers(model, questions), Path(name)
        for form in forms:
            (folder / _FILES[form]).parent.mkdir(exist_ok=True)
        graph = folder / _FILES["onnx"] if "onnx" in forms else scratch / "model.onnx"
        if set(forms) - {"index"}:
            write_onnx(model, graph, most=most)
        for form in forms:
            file = folder / _FILES[form]
            if form == "int8":
                write_int8(graph, file)
            index = form == "index"
            found[form] = _index(file, model, questions, scratch) if index else _graph(file, live, questions, scratch)
    if "onnx" in found:
        refuse_unlike(found["onnx"], "the ONNX graph's")
    return found


def _graph(file: Path, live: Answers, questions: Questions, scratch: Path) -> FormReport:
    library, told = fresh_answers(file, questions.arrays(), scratch)
    return report_of(file, library, answers_of(told, questions), live, questions)


def _index(file: Path, model: SequenceModel, questions: Questions, scratch: Path) -> FormReport:
    items = model.item_vectors().detach()
    write_index(items, file)
    # without users the timed histories, which are made up, are searched for, and tell times only
    users = user_vectors(model, questions.held_out or questions.timed)
    library, told = fresh_answers(file, {"users": users.numpy(), "timed": np.array(BATCHES)}, scratch)
    some = {size: torch.from_numpy(np.resize(users.numpy(), (size, users.shape[1]))) for size in BATCHES}
    times = {str(size): milliseconds(partial(exact_top, vectors, items)) for size, vectors in some.items()}
    found, exact = Answers([], told["top_items"], times_of(told)), Answers([], exact_top(users, items), times)
    return report_of(file, library, found, exact, questions)
