"""Forms written into a bundle, each seen to answer as the model does by a process that has its library only."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seqrec.errors import BundleError, MissingExtraError
from seqrec.export.forms import answer
from seqrec.export.forms.answer import milliseconds
from seqrec.export.forms.item_index import write_index
from seqrec.export.forms.onnx_graph import write_int8, write_onnx
from seqrec.export.forms.questions import (
    BATCHES,
    Answers,
    Questions,
    exact_top,
    live_answers,
    ndcg,
    same_top,
    stacked,
    user_vectors,
)
from seqrec.export.forms.report import Form, FormReport
from seqrec.export.scoring import TOLERANCE, differences, evaluating
from seqrec.models import RankingModel, SequenceModel, is_quantized

_FILES: dict[Form, str] = {"onnx": "onnx/model.onnx", "int8": "onnx/model.int8.onnx", "index": "index/items.faiss"}
_PACKAGES: dict[Form, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "int8": ("onnx", "onnxscript", "onnxruntime"),
    "index": ("faiss",),
}


def check_forms(model: RankingModel, forms: Sequence[Form]) -> None:
    """Sees that the forms can be made, before anything is.

    Raises:
        BundleError: the model is none that they hold.
        MissingExtraError: a package is not installed.
    """
    if not forms:
        return
    where = f"--forms {','.join(forms)}"
    if not isinstance(model, SequenceModel) or model.list_limit is not None:
        raise BundleError(
            "the model does not rank by products of a user's vector with item vectors",
            where=where,
            do="serve the bundle itself: export without forms",
        )
    if model.columns or model.user_values is not None:
        read = ", ".join([*model.columns, *(["users"] if model.user_values is not None else [])])
        raise BundleError(f"the model reads {read}, and forms take items only", where=where, do="export without forms")
    if is_quantized(model.backbone.model) and set(forms) - {"index"}:
        raise BundleError("a graph does not hold a quantized base model", where=where, do="ask for the index alone")
    for form in forms:
        for package in _PACKAGES[form]:
            if find_spec(package) is None:
                raise MissingExtraError.of(package, extra="serving", needed_for=f"the form `{form}`")


def write_forms(
    folder: Path, model: SequenceModel, forms: Sequence[Form], questions: Questions, *, most: int
) -> dict[Form, FormReport]:
    """Writes forms of a model into a bundle.

    Args:
        folder: of the bundle.
        model: on the CPU, with a table of item vectors.
        forms: which.
        questions: by which they are compared with the model.
        most: longest history.
    Raises:
        BundleError: scores of the ONNX graph differ from the model's by more than 1e-5.
    """
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
    apart = found["onnx"].max_difference if "onnx" in found else None
    if apart is not None and apart > TOLERANCE:
        raise BundleError(
            f"the ONNX graph's scores differ from the model's by up to {apart:.2g}, {TOLERANCE:.0e} is allowed",
            do="nothing was exported; please report this with the recipe",
        )
    return found


def _graph(file: Path, live: Answers, questions: Questions, scratch: Path) -> FormReport:
    library, told = _answers(file, questions.arrays(), scratch)
    found = Answers(
        scores=[told[f"shapes.{place}"] for place in range(len(questions.shapes))],
        top_items=stacked([told[f"held_out.{place}"] for place in range(len(questions.held_out))]),
        milliseconds=_times(told),
    )
    return _report(file, library, found, live, questions)


def _index(file: Path, model: SequenceModel, questions: Questions, scratch: Path) -> FormReport:
    items = model.item_vectors().detach()
    write_index(items, file)
    # without users the timed histories, which are made up, are searched for, and tell times only
    users = user_vectors(model, questions.held_out or questions.timed)
    library, told = _answers(file, {"users": users.numpy(), "timed": np.array(BATCHES)}, scratch)
    some = {size: torch.from_numpy(np.resize(users.numpy(), (size, users.shape[1]))) for size in BATCHES}
    times = {str(size): milliseconds(partial(exact_top, vectors, items)) for size, vectors in some.items()}
    found, exact = Answers([], told["top_items"], _times(told)), Answers([], exact_top(users, items), times)
    return _report(file, library, found, exact, questions)


def _times(told: dict[str, npt.NDArray[Any]]) -> dict[str, float]:
    return {str(size): float(told[f"timed.{place}"]) for place, size in enumerate(BATCHES)}


def _report(file: Path, library: str, found: Answers, live: Answers, questions: Questions) -> FormReport:
    apart = [
        float(differences(torch.from_numpy(scores), torch.from_numpy(expected)).max())
        for scores, expected in zip(found.scores, live.scores, strict=True)
    ]
    users = len(live.top_items) if questions.held_out else 0
    return FormReport(
        file=f"{file.parent.name}/{file.name}",
        library=library,
        size_bytes=sum(part.stat().st_size for part in file.parent.glob(f"{file.name}*")),
        max_difference=max(apart, default=None),
        users=users,
        same_top_10=same_top(found.top_items, live.top_items) if users else None,
        ndcg_10=ndcg(found.top_items, questions.targets),
        live_ndcg_10=ndcg(live.top_items, questions.targets),
        milliseconds=found.milliseconds,
        live_milliseconds=live.milliseconds,
    )


def _answers(form: Path, questions: dict[str, npt.NDArray[Any]], scratch: Path) -> tuple[str, dict[str, Any]]:
    """What a fresh process, which knows nothing of seqrec, answers from a form: its library, and arrays by name.

    Raises:
        BundleError: it ended with an error.
    """
    asked, answered = scratch / "questions.npz", scratch / "answers.npz"
    np.savez(asked, **questions)  # type: ignore[arg-type]
    # isolated: neither the working folder nor PYTHONPATH can lend it what it is to do without
    command = [sys.executable, "-I", answer.__file__, str(form), str(asked), str(answered)]
    process = subprocess.run([*command, str(torch.get_num_threads())], capture_output=True, text=True, check=False)
    if process.returncode:
        said = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
        raise BundleError(f"a fresh process cannot open `{form.name}`", reason="\n    ".join(said[-12:]))
    with np.load(answered) as found:
        arrays = {name: found[name] for name in found}
    return str(arrays.pop("library")), arrays
